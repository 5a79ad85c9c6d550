"""`apprentice demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="The same with smaller numbers, in under 3 minutes: shows that it runs, not how well it learns.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where episodes, policies and report go; bags/demo (or bags/demo-quick) by default.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move an earlier run in that folder aside and start anew, instead of going on with it.")
    ] = False,
) -> None:
    """The whole turn of the wheel, on real parts.

    Launches the simulated Sawyer's lift cell as ROS 2 nodes, records a scripted expert and a random watcher into bags, trains behaviour
    cloning and IQL from the bags alone, deploys both in the policy node, judges them on fresh starts, and writes report.html and
    report.json. Interrupted, it goes on where it was. Exit code 1 when a target is missed.

    Examples:

      apprentice demo --quick

      apprentice demo --out bags/demo
    """
    from apprentice_workflows.demo.run import run_demo

    raise typer.Exit(run_demo(out or Path("bags/demo-quick" if quick else "bags/demo"), quick, fresh))
