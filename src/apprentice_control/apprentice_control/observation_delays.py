"""When the observation of a tick is acquired: `observation_delay`, and up to `jitter` more, before the tick (DESIGN, contract 1)."""

from __future__ import annotations

import numpy as np

from apprentice_core.config import Timing


class ObservationDelays:
    """In cycles of `period` seconds, seeded: SimCell and the nodes of a simulated cell draw the same ones."""

    def __init__(self, timing: Timing, period: float, seed: int):
        self.timing, self.period = timing, period
        self._rng = np.random.default_rng([seed, 7])

    @property
    def most(self) -> int:
        return round((self.timing.observation_delay + self.timing.jitter) / self.period)

    def draw(self) -> int:
        t = self.timing
        return round((t.observation_delay + (self._rng.uniform(0.0, t.jitter) if t.jitter else 0.0)) / self.period)
