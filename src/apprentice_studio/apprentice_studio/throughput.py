"""How fast a person sketches (spec 000 line 40): frames saved over the time spent at it, in this run of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

PAUSE = 60.0
"""seconds: who does nothing for longer was away, and the gap is not counted (ours)"""


@dataclass
class _Work:
    frames: int = 0
    seconds: float = 0.0
    last: float | None = None


class Throughput:
    """Work of each user; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock, self._work = clock, threading.Lock(), dict[str, _Work]()

    def seen(self, user: str, frames: int = 0) -> None:
        """`user` asked for something to sketch, drew, or saved `frames` frames."""
        now = self._clock()
        with self._lock:
            work = self._work.setdefault(user, _Work())
            if work.last is not None and now - work.last <= PAUSE:
                work.seconds += now - work.last
            work.last = now
            work.frames += frames

    def of(self, user: str) -> dict[str, float]:
        """frames, minutes, frames_per_minute (0 before any time has passed)."""
        with self._lock:
            work = self._work.get(user, _Work())
            rate = work.frames * 60 / work.seconds if work.seconds > 0 else 0.0
            return {"frames": work.frames, "minutes": work.seconds / 60, "frames_per_minute": rate}
