"""What an execution is told: the commanded goal, perturbed at evaluation only, and where it starts (spec 001c section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

NoiseTarget = Literal["command", "socket"]
Point = tuple[float, float, float]
ABOVE = 0.05
"""m that the tool starts above the commanded goal (thesis)"""
PERTURBATION = 0.001
"""m on x and on y (thesis: +-1 mm; the axes and the even odds of both signs are ours)"""


@dataclass(frozen=True)
class Goal:
    """`true`: tool position with the plug fully in, as calibrated; `offset`: what is added to it, m."""

    true: Point
    offset: Point = (0.0, 0.0, 0.0)
    target: NoiseTarget = "command"

    @property
    def commanded(self) -> Point:
        if self.target == "socket":
            return self.true
        (x, y, z), (dx, dy, dz) = self.true, self.offset
        return x + dx, y + dy, z + dz

    def metadata(self) -> dict[str, Any]:
        """For EpisodeRequest.metadata. The start moves with the commanded goal, since nothing else is known on a robot; with target
        `socket` the part itself is moved by the scene instead."""
        x, y, z = self.commanded
        out: dict[str, Any] = {
            "goal": {"position": [x, y, z]}, "start": {"tool": [x, y, z + ABOVE]}, "goal_true": list(self.true),
            "goal_provenance": f"calibrated, {self.target} moved by {list(self.offset)}",
        }
        return {**out, "socket_offset": list(self.offset)} if self.target == "socket" else out


def perturbations(n: int, seed: int, size: float = PERTURBATION) -> list[Point]:
    """`n` offsets of +-size in x and y with independent signs; equal for equal seeds, so that methods are compared on the same ones."""
    signs = np.random.default_rng([seed, 35]).choice((-1.0, 1.0), size=(n, 2))
    return [(float(sx * size), float(sy * size), 0.0) for sx, sy in signs]


def executions(true: Point, n: int, noisy: bool, seed: int, target: NoiseTarget = "command") -> list[Goal]:
    """The goals of `n` executions in perfect or noisy condition."""
    offsets = perturbations(n, seed) if noisy else [(0.0, 0.0, 0.0)] * n
    return [Goal(true, o, target) for o in offsets]
