"""`apprentice insertion-interactive`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.output import JsonFlag, percent, print_json


def insertion_interactive(
    preset: Annotated[str, typer.Option("--preset", "-p", help="paper, small (two CPU cores) or tiny (tests).")] = "small",
    episodes: Annotated[int, typer.Option("--episodes", min=0, help="Own episodes at the latest; 0: the preset's.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    annotator: Annotated[str, typer.Option(help="Who sketches: scripted, or a person's name at the Studio that is printed.")] = "scripted",
    in_turn: Annotated[
        bool, typer.Option("--in-turn", help="One process, each part in its turn: decided by the seed, for experiments.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; bags/interactive/<preset>-<seed> by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Insert a USB plug by interactive learning (spec 000 section 2.14): a hundred sketched demonstrations, then actor, policy learner,
    reward learner and Studio's sketch queue at once, from the wrist camera alone.

    Killed or interrupted, the same command goes on where it was. Ends with success against simulated hours: result.json and plot.png.

    Examples:

      apprentice insertion-interactive

      apprentice insertion-interactive --annotator user_1

      apprentice insertion-interactive --in-turn --episodes 50 --seed 1
    """
    from apprentice_workflows.cli.progress import stages
    from apprentice_workflows.insertion.interactive.run import run_interactive
    from apprentice_workflows.insertion.interactive.run_folder import RunFolder
    from apprentice_workflows.insertion.interactive.settings import settings

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    s = settings(preset)
    s = s.model_copy(update={"episodes": episodes}) if episodes else s
    folder = (out or Path("bags") / "interactive" / f"{preset}-{seed}").resolve()
    run = RunFolder.begin(folder, preset, seed, s)
    with stages() as tell:
        result = run_interactive(run, tell, in_turn, annotator, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json({k: v for k, v in result.items() if k != "rows"})
        return
    judged = result["evaluation"]
    typer.echo(
        f"{judged['successes']} of {judged['trials']} executions ({percent(judged['low'])} to {percent(judged['high'])}) after "
        f"{result['episodes']} episodes, {result['hours']:.2f} simulated hours and {result['sketches']} sketches: {folder / 'plot.png'}"
    )
