"""`apprentice wheel`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer


def wheel(
    task: Annotated[str, typer.Argument(help="A wheel config: a name in config/wheels, or a YAML file.")],
    turns: Annotated[int, typer.Option("--turns", "-n", min=1, help="Turns in all, those that are done counted.")] = 1,
    preset: Annotated[str, typer.Option("--preset", "-p", help="How much of each step: paper, small, or tiny.")] = "small",
    only: Annotated[
        str,
        typer.Option(help="One step: A demonstrations, B store, C sketches, D reward model, E agents, F execution, G evaluation."),
    ] = "",
    turn: Annotated[int, typer.Option(min=0, help="With --only: of this turn; 0: of the turn at work.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where it all goes; bags/wheel/<task>-<preset> by default.")] = None,
    data: Annotated[Path | None, typer.Option("--data", "-d", help="A store to share with others; <out>/episodes by default.")] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="Run episodes on the ROS 2 nodes instead of in this process.")] = False,
    annotator: Annotated[
        str, typer.Option(help="Who sketches: scripted, or a person's name at Studio; the wheel then waits for their sketches.")
    ] = "scripted",
    studio: Annotated[str, typer.Option(help="URL of a running Studio; one is started where none is named.")] = "",
    blind: Annotated[bool, typer.Option("--blind", help="Evaluate without telling which policy runs.")] = False,
) -> None:
    """The data-driven wheel of spec 000: demonstrate, record, sketch, fit the reward, label everything, train agents offline, run them,
    repair delusions, evaluate; then the next turn.

    Killed or interrupted, the same command goes on where it was. Steps that are done with the same inputs are not done again. Ends with
    report.html and report.json.

    Examples:

      apprentice wheel lift_green --turns 2

      apprentice wheel lift_green --only C --annotator user_1

      apprentice wheel stack_green_on_red --data bags/shared --nodes
    """
    from apprentice_workflows.wheel.context import WheelContext
    from apprentice_workflows.wheel.run import run_wheel

    # A service manager says SIGTERM where a person presses Ctrl-C: children and nodes are ended in order, then we go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = out or Path("bags") / "wheel" / f"{Path(task).stem}-{preset}"
    context = WheelContext.open(task, preset, folder, data, nodes, annotator, studio, blind)
    try:
        run_wheel(context, turns, only.upper(), turn)
    finally:
        context.close()
