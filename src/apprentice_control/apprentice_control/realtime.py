"""A periodic thread with absolute deadlines, its timing statistics, and one-slot cells between it and the rest of a process."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from apprentice_core.errors import ApprenticeError, SafetyError

AUTO_PRIORITY, DEFAULT_PRIORITY = -1, 60
"""ours: above all that a desktop runs and a real-time kernel's interrupt threads (50)"""
T = TypeVar("T")


class LatestValue(Generic[T]):
    """One slot: a writer replaces, a reader takes. Never blocks; a value that is overwritten unread is lost on purpose."""

    def __init__(self) -> None:
        self._value: T | None = None

    def put(self, value: T) -> None:
        self._value = value

    def take(self) -> T | None:
        """The newest value, once; None when there is nothing new. One reader only."""
        value, self._value = self._value, None
        return value


class LoopCall:
    """Work that one thread asks of another: `done` is set once `run` has run; an ApprenticeError is kept in `error`."""

    def __init__(self, function: Callable[[], None]):
        self._function = function
        self.done = threading.Event()
        self.error: ApprenticeError | None = None

    def run(self) -> None:
        try:
            self._function()
        except ApprenticeError as error:
            self.error = error
        finally:
            self.done.set()


@dataclass(frozen=True)
class LoopTiming:
    """Over the last window: body time per cycle in s, and the fraction of cycles that ended after their deadline."""

    cycles: int
    median: float
    p99: float
    overrun_fraction: float
    overruns: int
    skipped: int


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


class RealtimeLoop:
    """Calls `body` every `period` seconds by absolute deadlines of the steady clock.

    A late cycle is followed at once by the next ones, up to `catch_up` of them, so that a short stall costs no time of the
    body's own clock; a longer stall moves the schedule and counts the missed periods as skipped. An exception in the body ends
    the loop and is handed to `on_error` (the arm must not go on half-controlled). `priority`: SCHED_FIFO priority of the
    thread, and one below it for the process's main thread until `stop`; AUTO_PRIORITY takes one where the system permits it, 0
    leaves the system's scheduling. SafetyError, through `on_error`, where a priority that was asked for is not permitted.
    """

    def __init__(
        self, period: float, body: Callable[[], None], on_error: Callable[[BaseException], None], catch_up: int = 10,
        priority: int = 0,
    ):
        self.period_ns = round(period * 1e9)
        self._priority = priority
        self._body, self._on_error, self._catch_up = body, on_error, catch_up
        self.statistics = CycleStatistics()
        self.scheduling = "the system's"
        """once started: what the thread runs under"""
        self._stop = threading.Event()
        self._rebase = self._raised = False
        self._thread = threading.Thread(target=self._run, name="realtime-loop", daemon=True)

    def start(self) -> None:
        # The default of 5 ms would let another thread keep the interpreter for five of our periods.
        sys.setswitchinterval(1e-4)
        # What is there by now stays: a full collection that walks it would hold the loop up for many periods.
        gc.collect()
        gc.freeze()
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Ends after the cycle in progress; safe to call twice, or before start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._raised:
            os.sched_setscheduler(os.getpid(), os.SCHED_OTHER, os.sched_param(0))
            self._raised = False

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def rebase(self) -> None:
        """Called from the body after work that is known to take long: the schedule starts anew, nothing counts as late."""
        self._rebase = True

    def _schedule(self) -> None:
        """The thread, and just below it the main thread: who holds the interpreter while the loop waits for it must get to run."""
        priority = DEFAULT_PRIORITY if self._priority == AUTO_PRIORITY else self._priority
        if not priority:
            return
        try:
            for thread, level in ((threading.get_native_id(), priority), (os.getpid(), max(1, priority - 1))):
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(level))
        except OSError as error:
            if self._priority == AUTO_PRIORITY:
                return
            raise SafetyError(
                f"SCHED_FIFO priority {priority} is not permitted ({error.strerror}): raise rtprio in /etc/security/limits.conf"
            ) from error
        self.scheduling, self._raised = f"SCHED_FIFO {priority}", True

    def _run(self) -> None:
        clock, period = time.monotonic_ns, self.period_ns
        try:
            self._schedule()
            deadline = clock()
            while not self._stop.is_set():
                start = clock()
                self._body()
                end = clock()
                deadline += period
                if self._rebase:
                    self._rebase, deadline = False, end
                    continue
                late = end > deadline
                self.statistics.add((end - start) * 1e-9, late)
                if late:
                    missed = (end - deadline) // period
                    if missed > self._catch_up:
                        self.statistics.skipped += missed
                        deadline += missed * period
                else:
                    time.sleep((deadline - end) * 1e-9)
        except BaseException as error:  # noqa: BLE001 - whatever ends the loop must stop the arm
            self._on_error(error)
