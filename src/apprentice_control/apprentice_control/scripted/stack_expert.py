"""Grasps one block and puts it onto another."""

from __future__ import annotations

import numpy as np

from apprentice_control.scripted.lift_expert import LiftExpert
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation

CLEAR = 0.025
"""free height under the carried block while it is not over the base, m (ours)"""
ABOVE = 0.003
"""gap over the base at which the block is let go, m (ours)"""
OVER = 0.007
"""how far from the base's axis the block may be lowered, m (ours)"""


class StackExpert(LiftExpert):
    """The lift expert, then: carry the target over `base`, lower it until it touches, let go, withdraw upwards.

    It steers the block, not the tool: a block that has slipped in the fingers still lands on the base. Heights follow from where both stood
    at the grasp: an upright block is twice as high as its centre, which holds for every shape that can be stacked on.
    """

    def __init__(
        self, profile: RobotProfile, target: str, base: str = "red", period: float = 0.1, space: ActionSpace | None = None,
        noise: float = 0.0, noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0, name: str = "stack_expert",
    ):
        super().__init__(profile, target, period, space, noise, noise_correlation, failures, seed, lift=0.05, name=name)
        self.base = base
        self._stood = 0.0
        self._released = 0

    def reset(self, context: EpisodeContext) -> None:
        super().reset(context)
        self._stood, self._released = 0.0, 0

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        if privileged is None:
            return super().act(observation, segment, privileged)
        tool = observation["tool/pose"].astype(np.float64)
        block, base = (privileged[f"object/{n}/pose"].astype(np.float64)[:3] for n in (self.target, self.base))
        if self._held_at is None:
            self._stood = float(block[2])  # it still stands on the floor
        elif not (self._gave_up or self._miss.any() or self._drop_at is not None):
            risen = block[2] - self._stood
            if self._released or risen > 0.02:
                values = self._carry(tool, block, base)
                return SourceAction(values, self.noise.sample(len(values)))
        return super().act(observation, segment, privileged)

    def _carry(self, tool: np.ndarray, block: np.ndarray, base: np.ndarray) -> np.ndarray:
        rest = 2 * base[2] + self._stood
        aside = float(np.linalg.norm(block[:2] - base[:2]))
        if self._released:
            self._released += 1
            # The fingers open before the tool leaves.
            up = 0.0 if self._released < 4 else 0.08
            return self.servo.action(tool, tool[:3] + np.array([0.0, 0.0, up]), 0.0, -1.0)
        high = block[2] > rest + CLEAR / 2
        to = np.array([base[0], base[1], rest + CLEAR])
        if not high and aside > OVER:
            to[:2] = block[:2]  # up first: it would push the base away
        elif aside <= OVER:
            to[2] = rest
            if block[2] < rest + ABOVE:
                self._released = 1
                return self.servo.action(tool, tool[:3], 0.0, -1.0)
        return self.servo.action(tool, tool[:3] + to - block, 0.0, 1.0)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        super().observe(observation, executed)
        if self._held_at is None:
            self._released = 0
