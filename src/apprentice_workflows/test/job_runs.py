"""A small collection of chapter 10, and runs of it that are killed: what the tests of it share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from apprentice_workflows.on_the_job.settings import settings

TINY = settings("tiny")
ONE = TINY.model_copy(update={"connectors": ("square_0",), "trajectories": 2})


def quiet(*said: object) -> None:
    pass


def killed(code: str, folder: Path, enough: Callable[[], bool]) -> None:
    """Runs `code` on the folder in a process of its own until `enough`, and ends it by SIGKILL."""
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 100
    while not enough() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode() if process.stderr else ""


def bags(folder: Path) -> list[Path]:
    return [p for p in folder.glob("*/metadata.yaml") if not p.parent.name.endswith((".open", ".torn"))]
