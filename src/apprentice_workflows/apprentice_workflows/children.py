"""Child processes that end with us, however we end, and are given time to write a checkpoint."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

PATIENCE = ((signal.SIGINT, 20.0), (signal.SIGKILL, 5.0))
"""s that a child is given after each signal; SIGINT lets a trainer write a checkpoint first (ours)"""
_PR_SET_PDEATHSIG = 1


def _prepare() -> None:
    # A shell starts what runs in its background deaf to SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform != "linux":
        return
    # Without it a trainer would go on after `kill -9` of its parent, beside the one that the next call starts in the same folder.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def start_child(command: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own, so that Ctrl-C reaches us alone and we end it in order. On Linux the kernel interrupts it
    when we are gone; call from the main thread, to whose life the kernel ties it."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_prepare, **popen)


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Returns when it is gone, or after the last signal's patience."""
    for number, patience in PATIENCE:
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
