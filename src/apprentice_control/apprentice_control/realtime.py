"""A periodic loop with absolute deadlines, and its timing statistics."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np

from apprentice_core.errors import SafetyError

AUTO_PRIORITY, DEFAULT_PRIORITY = -1, 60
"""ours: above all that a desktop runs and a real-time kernel's interrupt threads (50)"""


@dataclass(frozen=True)
class LoopTiming:
    """Over the last window: body time per cycle in s, and the fraction of cycles that ended after their deadline."""

    cycles: int
    median: float
    p99: float
    overrun_fraction: float
    overruns: int
    skipped: int


class CycleSink(Protocol):
    """Where the loop writes down its cycles; `skipped` counts periods since the start."""

    skipped: int

    def add(self, duration: float, late: bool) -> None: ...


class CycleStatistics:
    """Durations and overruns of the last `window` cycles; `cycles`, `overruns` and `skipped` count since the start."""

    def __init__(self, window: int = 10_000):
        self._durations = np.zeros(window)
        self._late = np.zeros(window, dtype=bool)
        self.cycles = self.overruns = self.skipped = 0

    def add(self, duration: float, late: bool) -> None:
        i = self.cycles % len(self._durations)
        self._durations[i] = duration
        self._late[i] = late
        self.cycles += 1
        self.overruns += late

    def summary(self) -> LoopTiming:
        n = min(self.cycles, len(self._durations))
        if n == 0:
            return LoopTiming(0, 0.0, 0.0, 0.0, 0, 0)
        d = self._durations[:n]
        median, p99 = np.percentile(d, (50, 99))
        return LoopTiming(self.cycles, float(median), float(p99), float(self._late[:n].mean()), self.overruns, self.skipped)


def take_priority(priority: int, below: int = 0) -> str:
    """Runs the calling thread under SCHED_FIFO at `priority` less `below`; returns what it runs under.

    AUTO_PRIORITY takes one where the system permits it, 0 leaves the system's scheduling. SafetyError where a priority that was
    asked for is not permitted.
    """
    level = max(1, (DEFAULT_PRIORITY if priority == AUTO_PRIORITY else priority) - below)
    if priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
            return f"SCHED_FIFO {level}"
        except OSError as error:
            if priority != AUTO_PRIORITY:
                raise SafetyError(
                    f"SCHED_FIFO priority {level} is not permitted ({error.strerror}): raise rtprio in /etc/security/limits.conf"
                ) from error
    return "the system's"


class RealtimeLoop:
    """Calls `body` every `period` seconds by absolute deadlines of the steady clock, in the thread that calls `run`.

    A late cycle is followed at once by the next ones, up to `catch_up` of them, so that a short stall costs no time of the
    body's own clock; a longer stall moves the schedule and counts the missed periods as skipped. What the body raises ends
    the loop and comes out of `run` (the arm must not go on half-controlled). `priority`: see `take_priority`.
    """

    def __init__(
        self, period: float, body: Callable[[], None], cycles: CycleSink | None = None, catch_up: int = 10, priority: int = 0,
    ):
        self.period_ns = round(period * 1e9)
        self._priority, self._body, self._catch_up = priority, body, catch_up
        self.cycles: CycleSink = CycleStatistics() if cycles is None else cycles
        self.scheduling = ""
        """once prepared: what the thread runs under"""
        self._rebase = False

    def prepare(self) -> None:
        """Before `run`, in its thread: the priority, and no full garbage collections of what is there by now.

        SafetyError where a priority that was asked for is not permitted.
        """
        # A full collection that walks all of it would hold the loop up for many periods.
        gc.collect()
        gc.freeze()
        self.scheduling = take_priority(self._priority)

    def rebase(self) -> None:
        """Called from the body after work that is known to take long: the schedule starts anew, nothing counts as late."""
        self._rebase = True

    def run(self) -> NoReturn:
        """Until the body raises."""
        clock, period = time.monotonic_ns, self.period_ns
        deadline = clock()
        while True:
            start = clock()
            self._body()
            end = clock()
            deadline += period
            if self._rebase:
                self._rebase, deadline = False, end
                continue
            late = end > deadline
            self.cycles.add((end - start) * 1e-9, late)
            if late:
                missed = (end - deadline) // period
                if missed > self._catch_up:
                    self.cycles.skipped += missed
                    deadline += missed * period
            else:
                time.sleep((deadline - end) * 1e-9)
