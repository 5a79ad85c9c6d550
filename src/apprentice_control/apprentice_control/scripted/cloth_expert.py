"""Pinches a cloth at its highest point and pulls it up."""

from __future__ import annotations

import numpy as np

from apprentice_control.scripted.lift_expert import DROP, HOVER, LiftExpert
from apprentice_control.scripted.servo import episode_rng
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation

GRIP = 0.022
"""how far below the cloth's highest point the pinch point goes, m (ours)"""
FUNNEL = 0.012
"""m aside within which the tool may go all the way down (ours)"""
REACHED = 0.004
"""how near the pinch is when the fingers close, m (ours)"""
CLOSING = 6
"""control periods that the fingers get to close (ours)"""
LOST = 0.03
"""what has slipped out hangs, or lies, this far below the pinch point, m (ours)"""
ABOVE = 0.05
"""a pinch that misses on purpose closes this far above the cloth, m (ours)"""


class ClothExpert(LiftExpert):
    """ActionSource that needs the privileged highest point, <target>/top. A pinch that slipped is tried again, turned by a random angle.

    Failures on purpose are those of the lift expert: a pinch above the cloth, or letting go on the way up.
    """

    def __init__(
        self, profile: RobotProfile, target: str, period: float = 0.1, space: ActionSpace | None = None, noise: float = 0.0,
        noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0, name: str = "cloth_expert",
    ):
        super().__init__(profile, target, period, space, noise, noise_correlation, failures, seed, lift=0.13, name=name)
        self._turn, self._angles = 0.0, np.random.default_rng(seed)
        self._goal: np.ndarray | None = None

    def reset(self, context: EpisodeContext) -> None:
        super().reset(context)
        if self._drop_at is not None:
            self._drop_at += DROP[1]  # a cloth is up later than a block
        self._turn, self._angles, self._goal = 0.0, episode_rng(self.seed + 1, context), None

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        """KeyError naming the array when the highest point is not among the privileged ones."""
        if privileged is None:
            raise KeyError(f"object/{self.target}/top/pose")
        tool = observation["tool/pose"].astype(np.float64)
        top = privileged[f"object/{self.target}/top/pose"].astype(np.float64)[:3]
        values = self._reach(tool, top) if self._held_at is None else self._pull(tool, top)
        return self._answer(values, tool)

    def _reach(self, tool: np.ndarray, top: np.ndarray) -> np.ndarray:
        if self._goal is None or tool[2] > top[2] + HOVER / 2:
            # The cloth moves once it is touched; until then the highest point is followed.
            self._goal = np.array([top[0], top[1], max(self.plan.lowest, top[2] - GRIP)])
        goal = self._goal + np.array([0.0, 0.0, ABOVE if self._miss.any() else 0.0])
        aside = float(np.linalg.norm(tool[:2] - goal[:2]))
        if aside < FUNNEL and tool[2] < goal[2] + REACHED:
            self._held_at, self._steps_closed = goal, 0
            return self.servo.action(tool, goal, 0.0, 1.0)
        # Yaw is turned to once a try, on the way there.
        turn, self._turn = self._turn, self._turn * 0.5
        return self.servo.action(tool, goal + np.array([0.0, 0.0, min(HOVER, 2.0 * max(0.0, aside - FUNNEL))]), turn, -1.0)

    def _pull(self, tool: np.ndarray, top: np.ndarray) -> np.ndarray:
        assert self._held_at is not None
        self._steps_closed += 1
        risen = tool[2] - self._held_at[2]
        if self._drop_at is not None:
            self._gave_up = self._gave_up or bool(risen > self._drop_at)
        up = self._held_at + np.array([0.0, 0.0, self.lift])
        if self._gave_up:
            return self.servo.action(tool, up, 0.0, -1.0)
        if self._steps_closed < CLOSING:
            return self.servo.action(tool, self._held_at, 0.0, 1.0)
        if risen > LOST and top[2] < tool[2] - LOST and not self._miss.any():
            self._held_at = self._goal = None
            self._turn = float(self._angles.uniform(-0.8, 0.8))
            return self.servo.action(tool, tool[:3], 0.0, -1.0)
        return self.servo.action(tool, up, 0.0, 1.0)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        super().observe(observation, executed)
        if self._held_at is None:
            self._goal = None
