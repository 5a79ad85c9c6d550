"""`apprentice replay`: the replay node on one bag."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def replay(
    bag: Annotated[Path, typer.Argument(help="A bag folder, or one .mcap file.")],
    rate: Annotated[float, typer.Option(help="Speed: 2 is twice as fast.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False,
    start: Annotated[float, typer.Option(help="Seconds after the first message.")] = 0.0,
    end: Annotated[float, typer.Option(help="Seconds after the first message; 0: the bag's end.")] = 0.0,
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic (may be repeated).")] = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Also publish what nodes act on (tick, action): moves a running cell.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="Put before every topic name, as /replay.")] = "",
    list_topics: Annotated[bool, typer.Option("--list", help="Print the bag's topics and end.")] = False,
) -> None:
    """Publish a bag with its recorded stamps and timing.

    Examples:

      apprentice replay bags/demo/01J... --list

      apprentice replay bags/demo/01J... --rate 2 --prefix /replay
    """
    from apprentice_workflows.launch_files.plan import ParameterValue, format_value
    from apprentice_workflows.launch_files.substitution import package_executable

    parameters: dict[str, ParameterValue] = {
        "bag": str(bag.resolve()),
        "rate": float(rate),
        "loop": loop,
        "start": float(start),
        "end": float(end),
        "commands": commands,
        "prefix": prefix,
        "list": list_topics,
    }
    if topic:
        parameters["topics"] = list(topic)
    command = [str(package_executable("apprentice_runtime", "replay_node")), "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={format_value(value)}"]
    sys.stdout.flush()
    os.execv(command[0], command)
