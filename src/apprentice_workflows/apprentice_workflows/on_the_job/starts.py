"""Where trials start (spec 001c section 4.6): lateral offsets of the plug from the socket's axis, m."""

from __future__ import annotations

from typing import Literal

import numpy as np

Scenario = Literal["I", "II", "II_annulus"]
SCENARIOS: tuple[Scenario, ...] = ("I", "II")
NEAR, FAR = 0.010, 0.020
"""m; paper"""
Offset = tuple[float, float]


def collection_start(rng: np.random.Generator) -> Offset:
    """Uniform within 20 mm on each axis, so that both scenarios are covered (ours)."""
    x, y = rng.uniform(-FAR, FAR, 2).tolist()
    return x, y


def trial_start(scenario: Scenario, rng: np.random.Generator) -> Offset:
    """I: uniform within 10 mm on each axis (C27). II: uniform over the area where the larger of both is 10 to 20 mm (C28).
    II_annulus: the distance itself uniform in 10 to 20 mm (ours, section 4.6's option)."""
    if scenario == "I":
        x, y = rng.uniform(-NEAR, NEAR, 2).tolist()
        return x, y
    if scenario == "II_annulus":
        radius, angle = rng.uniform(NEAR, FAR), rng.uniform(0.0, 2.0 * np.pi)
        return float(radius * np.cos(angle)), float(radius * np.sin(angle))
    # The ring is drawn as its square without the middle; a draw in the middle is drawn again.
    while True:
        x, y = rng.uniform(-FAR, FAR, 2).tolist()
        if max(abs(x), abs(y)) >= NEAR:
            return x, y
