"""Children end with their parent: asked first, and also when the parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apprentice_workflows.children import end_child, start_child

CHILD = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text("up")
try:
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path(sys.argv[1]).write_text("checkpoint")
    sys.exit(130)
"""
PARENT = f"""
import os, sys, time
from apprentice_workflows.children import start_child
start_child([sys.executable, "-c", {CHILD!r}, sys.argv[1]])
time.sleep(60)
"""


def _wait(file: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not file.is_file() or file.read_text() != text:
        assert time.monotonic() < deadline, f"{file} never said {text}"
        time.sleep(0.02)


def test_a_child_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    child = start_child([sys.executable, "-c", CHILD, str(tmp_path / "said")])
    _wait(tmp_path / "said", "up")
    assert os.getsid(child.pid) != os.getsid(0), "Ctrl-C at our terminal is not its"
    end_child(child)
    assert child.returncode == 130 and (tmp_path / "said").read_text() == "checkpoint"


def test_a_child_hears_us_though_we_hear_no_ctrl_c(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = start_child([sys.executable, "-c", CHILD, str(tmp_path / "said")])
    finally:
        signal.signal(signal.SIGINT, before)
    _wait(tmp_path / "said", "up")
    end_child(child)
    assert child.returncode == 130


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's service")
def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "said")])
    _wait(tmp_path / "said", "up")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait(tmp_path / "said", "checkpoint")
