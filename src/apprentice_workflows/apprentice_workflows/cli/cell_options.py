"""Options of every command that runs episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[str, typer.Option("--task", "-t", help="Task config (config/tasks).")]
CellName = Annotated[str, typer.Option("--cell", help="Cell config (config/cells), with --in-process.")]
InProcess = Annotated[bool, typer.Option("--in-process", help="Simulate in this process, without nodes: faster, same episodes.")]
Namespace = Annotated[str, typer.Option("--namespace", help="Where the running nodes are.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", "-d", help="Data folder, with --in-process (the nodes' recorder has its own); $APPRENTICE_DATA or bags/ by default."
    ),
]
Cameras = Annotated[str, typer.Option("--cameras", help="With --in-process: agent, all, or none.")]
