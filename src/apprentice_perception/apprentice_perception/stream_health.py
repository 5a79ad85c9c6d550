"""Rate and age of a stream, for diagnostics."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

OK, WARN, ERROR, STALE = 0, 1, 2, 3


@dataclass(frozen=True)
class Health:
    """`rate` in Hz over the window, `age` in s of the newest message."""

    level: int
    message: str
    rate: float
    age: float


class StreamHealth:
    """Fed the arrival times (steady clock, s) of a stream that should run at `rate` Hz.

    WARN below `tolerance` times the rate, STALE when nothing came for `max_age` seconds.
    """

    def __init__(self, rate: float, max_age: float, tolerance: float = 0.8, window: int = 50):
        self.rate, self.max_age, self.tolerance = rate, max_age, tolerance
        self._times: deque[float] = deque(maxlen=window)

    def add(self, now: float) -> None:
        self._times.append(now)

    def check(self, now: float) -> Health:
        if not self._times:
            return Health(STALE, "nothing received yet", 0.0, float("inf"))
        age = now - self._times[-1]
        span = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / span if span > 0 else 0.0
        if age > self.max_age:
            return Health(STALE, f"silent for {age:.2f} s", rate, age)
        if len(self._times) > 2 and rate < self.tolerance * self.rate:
            return Health(WARN, f"{rate:.1f} Hz, expected {self.rate:.1f} Hz", rate, age)
        return Health(OK, "running", rate, age)
