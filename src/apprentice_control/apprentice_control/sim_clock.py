"""Simulated time that never goes back: not over scene resets, and not over restarts of the node that keeps it."""

from __future__ import annotations

import os
import time
from pathlib import Path

RESERVE_NS = 60_000_000_000
"""how far ahead time is reserved on disk, so that the file is written once a simulated minute (ours)"""


class SimClock:
    """Nanoseconds; starts at wall time, or later where an earlier run has got further (lockstep runs faster than the wall)."""

    def __init__(self, file: Path | None = None, wall_ns: int | None = None):
        self._file = file
        start = time.time_ns() if wall_ns is None else wall_ns
        self._reserved = self._read()
        self.now_ns = max(start, self._reserved)
        self._reserve()

    def advance(self, ns: int) -> int:
        """Moves on by `ns` > 0; returns the new time."""
        if ns <= 0:
            raise ValueError(f"time cannot advance by {ns} ns")
        self.now_ns += ns
        if self.now_ns >= self._reserved:
            self._reserve()
        return self.now_ns

    def _read(self) -> int:
        try:
            return int(self._file.read_text(encoding="ascii")) if self._file is not None else 0
        except (OSError, ValueError):
            return 0

    def _reserve(self) -> None:
        self._reserved = self.now_ns + RESERVE_NS
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            staging = self._file.with_suffix(f".{os.getpid()}")
            staging.write_text(str(self._reserved), encoding="ascii")
            staging.replace(self._file)
