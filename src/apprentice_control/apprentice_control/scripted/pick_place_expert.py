"""Grasps the object and drops it into the container."""

from __future__ import annotations

import numpy as np

from apprentice_control.scripted.lift_expert import LiftExpert
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation


class PickPlaceExpert(LiftExpert):
    """The lift expert, then: carry to `place` (x, y in the base frame, m) at `carry` height, lower to `drop`, let go."""

    def __init__(
        self, profile: RobotProfile, target: str, place: tuple[float, float], period: float = 0.1, space: ActionSpace | None = None,
        noise: float = 0.0, noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0, carry: float = 0.10,
        drop: float = 0.055, name: str = "pick_place_expert",
    ):
        super().__init__(profile, target, period, space, noise, noise_correlation, failures, seed, lift=carry, name=name)
        self.place, self.carry, self.drop = np.array(place), carry, drop
        self._released = False

    def reset(self, context: EpisodeContext) -> None:
        super().reset(context)
        self._released = False

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        if privileged is not None and self._held_at is not None:
            tool = observation["tool/pose"].astype(np.float64)
            if self._released or tool[2] > self.carry - 0.02 or np.linalg.norm(tool[:2] - self.place) < 0.02:
                values = self._carry(tool)
                return SourceAction(values, self.noise.sample(len(values)))
        return super().act(observation, segment, privileged)

    def _carry(self, tool: np.ndarray) -> np.ndarray:
        aside = float(np.linalg.norm(tool[:2] - self.place))
        if self._released:
            return self.servo.action(tool, np.append(self.place, self.carry), 0.0, -1.0)
        if aside > 0.012:
            return self.servo.action(tool, np.append(self.place, self.carry), 0.0, 1.0)
        self._released = tool[2] < self.drop + 0.01
        return self.servo.action(tool, np.append(self.place, self.drop), 0.0, -1.0 if self._released else 1.0)
