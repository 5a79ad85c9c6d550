"""`apprentice launch`: our small runner, or the real `ros2 launch` where it is there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def launch(
    file: Annotated[str, typer.Argument(help="A launch file, or its name in launch/ (cell.launch.xml).")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Launch arguments as name:=value.", metavar="[NAME:=VALUE]...")] = None,
    show_args: Annotated[bool, typer.Option("--show-args", help="List the file's arguments and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands that would be started and end.")] = False,
    own: Annotated[bool, typer.Option("--own", help="Use the runner of this suite even where the real `launch` is installed.")] = False,
) -> None:
    """Start the nodes of a launch file and keep them together.

    Every node's output is prefixed with its name. Ctrl-C ends all nodes (SIGINT, then SIGTERM, then SIGKILL); nothing stays behind, even
    when this process is killed. docs/launch.md lists the tags that are read.

    Examples:

      apprentice launch cell.launch.xml --show-args

      apprentice launch cell.launch.xml task:=lift pace:=lockstep
    """
    from apprentice_core.errors import ApprenticeError
    from apprentice_core.ros_dds import sweep_dead_segments
    from apprentice_workflows.launch_files.handover import exec_real_launch, real_launch_present
    from apprentice_workflows.launch_files.parser import declared_arguments, parse_launch
    from apprentice_workflows.launch_files.supervisor import Supervisor

    path = find_launch_file(file)
    given: dict[str, str] = {}
    for item in arguments or []:
        name, separator, value = item.partition(":=")
        if not separator or not name:
            raise ApprenticeError(f"{item!r}: arguments are given as name:=value")
        given[name] = value
    if show_args:
        print_arguments(path, declared_arguments(path))
        return
    if real_launch_present() and not own and not dry_run:
        exec_real_launch(path, given)
    supervisor = Supervisor(parse_launch(path, given).nodes)
    if dry_run:
        for child in supervisor.children:
            typer.echo(shlex.join(child.command))
        return
    sweep_dead_segments()
    raise typer.Exit(supervisor.run())


def find_launch_file(name: str) -> Path:
    """A path as it is, or a file of launch/; ApprenticeError lists what is there."""
    from apprentice_core.errors import ApprenticeError
    from apprentice_core.paths import share_dir

    if Path(name).is_file():
        return Path(name)
    folder = share_dir() / "launch"
    if (folder / name).is_file():
        return folder / name
    known = ", ".join(sorted(p.name for p in folder.glob("*.launch.xml")))
    raise ApprenticeError(f"no launch file {name}; in {folder}: {known or 'none'}")


def print_arguments(path: Path, arguments: list) -> None:  # type: ignore[type-arg]
    from rich.console import Console
    from rich.table import Table

    table = Table("argument", "default", "meaning", title=str(path), title_justify="left")
    for a in arguments:
        choices = f" (one of {', '.join(a.choices)})" if a.choices else ""
        table.add_row(a.name, "[required]" if a.default is None else a.default, a.description + choices)
    Console().print(table)
