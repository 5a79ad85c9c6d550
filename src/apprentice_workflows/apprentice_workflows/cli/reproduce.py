"""`apprentice reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json, print_table


def reproduce(
    name: Annotated[str, typer.Argument(help="Which experiment; without one, all are listed.")] = "",
    preset: Annotated[
        str,
        typer.Option(
            "--preset", "-p",
            help="paper, small, lowdim (tracked poses instead of pixels), pixels (agents of small on the store of lowdim) or tiny.",
        ),
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where result.json and plot.png go; experiments/<name>[-<preset>] by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Where episodes, models and agents go; claims on one wheel share them.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run an experiment on a claim of the specs again. Killed or interrupted, the same command goes on where it was.

    Writes result.json (claim, cells with Wilson intervals and the paper's rates, verdict, seeds, config, commit, seconds) and a plot.

    Examples:

      apprentice reproduce

      apprentice reproduce q1_all_data --preset lowdim
    """
    from apprentice_core.errors import ApprenticeError
    from apprentice_workflows.experiments.registry import experiment, experiments
    from apprentice_workflows.experiments.result import show

    if not name:
        print_table("experiments", ("name", "claim", "presets"), [(e.name, e.claim, ", ".join(e.presets)) for e in experiments().values()])
        return
    chosen = experiment(name)
    if preset not in chosen.presets:
        raise ApprenticeError(f"experiment {name} has no preset {preset!r}; known: {', '.join(chosen.presets)}")
    folder = out or Path("experiments") / (name if preset == "small" else f"{name}-{preset}")
    result = chosen.run(preset, data or Path("bags") / "experiments", folder)
    if as_json:
        print_json(result)
    else:
        show(name, result)
        typer.echo(folder / "result.json")
