"""`apprentice doctor`."""

from __future__ import annotations

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json

MARKS = {"good": "ok  ", "warning": "warn", "bad": "BAD "}


def doctor(as_json: JsonFlag = False) -> None:
    """Check compiler, wheels, DDS, disk, clock and cameras, and say what to do. Exit code 1 when something will not work.

    Example:

      apprentice doctor --json
    """
    from apprentice_core.paths import data_dir
    from apprentice_workflows import doctor as checks

    def show(finding: checks.Finding) -> None:
        typer.echo(f"{MARKS[finding.status]} {finding.check}: {finding.found}", err=as_json)
        if finding.advice:
            typer.echo(f"     -> {finding.advice}", err=as_json)

    findings = checks.examine(data_dir(), show)
    if as_json:
        print_json(checks.as_json(findings))
    raise typer.Exit(0 if all(f.status != "bad" for f in findings) else 1)
