"""Control noise of spec 001c section 2.5 (eq. 46, A17): added to the summed command before the caps, in simulation only, and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import numpy as np

from apprentice_control.safety import StageRecord, record
from apprentice_core.spaces import ActionSpace

Axes = Literal["all", "x"]
STAGE = "disturbance"


class Disturbance:
    """u' = u + N(mean, sigma^2) in normalised units, on every continuous axis of `space` or on its first one alone; other spaces (the
    resets') are left alone. One generator: equal seeds give equal noise, whatever drives."""

    def __init__(self, space: str, mean: float, sigma: float, axes: Axes = "all", seed: int = 0):
        if not (np.isfinite([mean, sigma]).all() and sigma >= 0):
            raise ValueError(f"disturbance needs a finite mean and a sigma of 0 or more, not {mean} and {sigma}")
        if axes not in get_args(Axes):
            raise ValueError(f"disturbance.axes must be one of {', '.join(get_args(Axes))}, not {axes!r}")
        self.space, self.mean, self.sigma, self.axes = space, float(mean), float(sigma), axes
        self._rng = np.random.default_rng([abs(seed), 46])

    def __call__(self, space: ActionSpace, values: np.ndarray) -> tuple[np.ndarray, StageRecord]:
        """(disturbed values [A], record of both, normalised)."""
        before = np.asarray(values, dtype=np.float64)
        after = before.copy()
        if space.name == self.space:
            moved = [i for i, d in enumerate(space.dimensions) if not d.binary][: 1 if self.axes == "x" else None]
            after[moved] += self._rng.normal(self.mean, self.sigma, len(moved))
        return after, record(STAGE, before, after, f"N({self.mean:g}, {self.sigma:g}^2) on {self.axes}")


def disturbance_of(metadata: Mapping[str, Any], space: str, seed: int | None) -> Disturbance | None:
    """metadata["disturbance"] = {"mean", "sigma", "axes"} of an episode, None where not given; ValueError says what is wrong with it."""
    asked = metadata.get("disturbance")
    if asked is None:
        return None
    if not isinstance(asked, Mapping) or not set(asked) <= {"mean", "sigma", "axes"}:
        raise ValueError("disturbance must be an object of mean, sigma and axes")
    mean, sigma = asked.get("mean", 0.0), asked.get("sigma", 0.0)
    if not all(isinstance(x, int | float) for x in (mean, sigma)):
        raise ValueError("disturbance.mean and disturbance.sigma must be numbers")
    return Disturbance(space, mean, sigma, cast(Axes, asked.get("axes", "all")), seed or 0)
