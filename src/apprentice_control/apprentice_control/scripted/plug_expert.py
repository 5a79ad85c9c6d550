"""A scripted demonstrator of insertion with six velocities (spec 000 section 2.14): over the socket and straight, then down into it.

It stands in for a person with a 6-DoF device: it knows the calibrated goal, which the policy never sees.
"""

from __future__ import annotations

import numpy as np

from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted.servo import ActionNoise, episode_rng
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError
from apprentice_core.rotations import quaternion_to_matrix, rotation_vector
from apprentice_core.spaces import ActionSpace, Observation

ABOVE, ASIDE, TILTED = 0.018, 0.0012, 0.03
"""m over the goal of the point that is gone to first; m of lateral error and rad of tilt within which it goes down (ours)"""
IN = 0.001
"""m over the goal within which the plug counts as in (ours)"""
PRESS = 0.004
"""m below the goal that it aims at, so that the friction of the contacts is overcome (ours)"""


class PlugExpert:
    """ActionSource in `tool_velocity`, driven by `tool/pose` and `segment.goal["position"]`, in the home orientation at the end.

    `gain`: part of the error that one control period removes; `down`: m/s on the way in; `linger`: periods for which it stays in before it
    asks to end, as a person would, 0: to the horizon (ours). `noise` (not on the way in) goes into SourceAction.noise, so that the recorded
    source values stay clean while the episode visits places from which to correct.
    """

    needs_privileged = False
    bundle_id = ""

    def __init__(
        self, profile: RobotProfile, space: ActionSpace, period: float = 0.1, gain: float = 0.35, down: float = 0.015, noise: float = 0.0,
        correlation: float = 0.7, linger: int = 15, seed: int = 0, name: str = "expert",
    ):
        if space.name != "tool_velocity":
            raise ApprenticeError(f"the insertion demonstrator moves in tool_velocity, not in {space.name}")
        self.name, self.action_space, self.seed = name, space, seed
        self._rate, self._down, self._linger = gain / period, down, linger
        self._scale = space.to_si(np.ones(6))
        self._upright = Kinematics(profile).forward(np.array(profile.home)).rotation
        self._noise = ActionNoise(noise, correlation, gripper_axes=0)
        self._entering, self._inside = False, 0

    def reset(self, context: EpisodeContext) -> None:
        self._entering, self._inside = False, 0
        self._noise.reset(episode_rng(self.seed, context))

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        """ValueError where the segment has no goal."""
        if "position" not in segment.goal:
            raise ValueError("the insertion demonstrator needs the goal `position` in the episode's metadata")
        tool = observation["tool/pose"].astype(np.float64)
        rotation = quaternion_to_matrix(tool[3:])
        error = segment.goal["position"].astype(np.float64) - tool[:3]
        turn = rotation_vector(self._upright @ rotation.T)
        aside, tilt = float(np.hypot(error[0], error[1])), float(np.linalg.norm(turn))
        if not self._entering:
            self._entering = aside < ASIDE and tilt < TILTED and -error[2] < ABOVE + 0.004
        elif aside > 3 * ASIDE and -error[2] > 0.5 * ABOVE:
            self._entering = False
        self._inside += -error[2] < IN and aside < 3 * ASIDE
        if self._linger and self._inside > self._linger:
            return SourceAction(self.action_space.neutral(), request_end=True)
        linear = self._rate * (error + np.array([0.0, 0.0, 0.0 if self._entering else ABOVE]))
        if self._entering:
            linear[2] = max(-self._down, self._rate * (error[2] - PRESS))
        twist = np.concatenate([rotation.T @ linear, rotation.T @ (self._rate * turn)]) / self._scale
        for part in (slice(0, 3), slice(3, 6)):
            twist[part] /= max(1.0, float(np.abs(twist[part]).max()))
        return SourceAction(twist.astype(np.float32), noise=None if self._entering else self._noise.sample(6))

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: it starts again above the socket."""
        self._entering = False
