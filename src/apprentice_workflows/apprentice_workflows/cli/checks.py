"""`apprentice test` and `apprentice lint`: what CI runs, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Annotated

import typer

PARALLEL = "2"
"""workers for tests that start no nodes; those that do run one after the other"""
WITHOUT_NODES = tuple(f"tests/test_{n}.py" for n in ("checklists", "import_rules", "setup", "studio_browser"))


def test(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also the tests marked slow.")] = False,
    serial: Annotated[bool, typer.Option("--serial", help="One process, in order.")] = False,
) -> None:
    """Run the test suite. Everything else on the line goes to pytest.

    Examples:

      apprentice test

      apprentice test -k launch -x

      apprentice test tests/test_faults.py --all
    """
    from apprentice_workflows.project import root

    given = list(context.args)
    top = root()
    named = [a for a in given if not a.startswith("-") and (top / a.split("::")[0]).exists()]
    options = [] if everything or "-m" in given else ["-m", "not slow"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    base = [sys.executable, "-m", "pytest", *options, *given]
    packages = sorted(str(p.relative_to(top)) for p in (top / "src").glob("*/test"))
    if named:
        runs = [base]
    else:
        # Process-level tests time real nodes; beside a second worker they would measure each other.
        runs = [
            [*base, *([] if serial else ["-n", PARALLEL, "--dist", "loadfile"]), *packages, *WITHOUT_NODES],
            [*base, "tests", *(f"--ignore={t}" for t in WITHOUT_NODES)],
        ]
    began, codes = time.monotonic(), []
    for command in runs:
        typer.echo(f"$ {' '.join(['pytest', *command[3:]])}")
        codes.append(subprocess.run(command, cwd=top, env=environment, check=False).returncode)
        if codes[-1] not in {0, 5} and {"-x", "--exitfirst"} & set(given):
            break
    nothing = all(code == 5 for code in codes)  # pytest: no test was selected
    typer.echo(f"tests: {'FAILED' if nothing or any(c not in {0, 5} for c in codes) else 'passed'} in {time.monotonic() - began:.0f} s")
    raise typer.Exit(1 if nothing or any(c not in {0, 5} for c in codes) else 0)


def lint(
    fix: Annotated[bool, typer.Option("--fix", help="Let ruff change what it can.")] = False,
) -> None:
    """Style (ruff), types (mypy) and import contracts (import-linter). Exit code 1 when any of them objects.

    Example:

      apprentice lint --fix
    """
    from apprentice_workflows.project import root

    top = root()
    packages = sorted(str(p.parent.relative_to(top)) for p in (top / "src").glob("apprentice_*/apprentice_*/__init__.py"))
    environment = {**os.environ, "MYPYPATH": ":".join(str((top / p).parent) for p in packages)}
    checks = {
        "ruff": [sys.executable, "-m", "ruff", "check", *(["--fix"] if fix else []), "."],
        "mypy": [sys.executable, "-m", "mypy", *packages],
        "import-linter": [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    }
    failed = []
    for name, command in checks.items():
        began = time.monotonic()
        code = subprocess.run(command, cwd=top, env=environment, check=False).returncode
        typer.echo(f"{name}: {'passed' if code == 0 else f'FAILED (exit {code})'} in {time.monotonic() - began:.0f} s")
        if code != 0:
            failed.append(name)
    raise typer.Exit(1 if failed else 0)
