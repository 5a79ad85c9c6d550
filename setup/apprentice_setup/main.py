"""`./apprentice`: set up what is stale, then become the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apprentice_setup.console import Progress
from apprentice_setup.environment import Environment
from apprentice_setup.errors import SetupError
from apprentice_setup.stamps import Stamps, exclusive
from apprentice_setup.workspace import Workspace, announce_ready


def prepare(root: Path) -> Workspace:
    """Brings the environment and the workspace of the checkout at `root` up to date; quick where they are."""
    folder = root / ".apprentice"
    stamps, progress = Stamps(folder), Progress()
    environment = Environment(root, stamps, progress)
    workspace = Workspace(root, environment, stamps, progress)
    if environment.fresh() and workspace.fresh():
        return workspace
    with exclusive(folder / "lock"):
        done = environment.prepare()
        if workspace.prepare() or done:
            announce_ready(root)
    return workspace


def main(root: Path, arguments: list[str]) -> int:
    """Exit code; 1 when the set-up failed, 130 when it was interrupted, otherwise the command line's own."""
    try:
        workspace = prepare(root)
        if arguments == ["setup"]:
            return 0
        python = str(workspace.environment.python)
        env = workspace.run_environment()
    except SetupError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n[setup] interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    os.execve(python, [python, "-m", "apprentice_workflows", *arguments], env)
