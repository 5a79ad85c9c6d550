"""random_watcher of spec 000 section 2.3: wanders through the workspace and opens and closes the gripper at random."""

from __future__ import annotations

import numpy as np

from apprentice_control.scripted.servo import DOWN, Servo, episode_rng, tool_axes, wrap
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import matrix_from_rotation_vector
from apprentice_core.spaces import ActionSpace, Observation, cartesian_velocity_gripper


class RandomWatcher:
    """ActionSource. Defaults are those of spec 000 section 8 (ours): a new goal within 1 cm of the old one or after 3 s, gripper toggled
    with probability 0.05 a step, yaw anywhere in its limit, tilt within 10 degrees."""

    needs_privileged = False
    bundle_id = ""

    def __init__(
        self, profile: RobotProfile, period: float = 0.1, space: ActionSpace | None = None, seed: int = 0, toggle: float = 0.05,
        reached: float = 0.01, patience: float = 3.0, tilt: float = np.radians(10.0), name: str = "random_watcher",
    ):
        self.name, self.seed = name, seed
        self.toggle, self.reached, self.tilt = toggle, reached, tilt
        self.patience = round(patience / period)
        self.action_space = space or cartesian_velocity_gripper()
        self.servo = Servo(self.action_space, tool_axes(profile), period)
        box, rotation = profile.limits.workspace, profile.limits.rotation
        if box is None or rotation is None:
            raise ValueError(f"profile {profile.name} has no workspace or rotation limit")
        self._low, self._high, self._yaw = np.array(box.low), np.array(box.high), float(rotation[2])
        self._rng = np.random.default_rng(seed)
        self._home: float | None = None
        self._turned, self._last_angle = 0.0, 0.0
        self._new_goal()
        self._gripper = -1.0

    def reset(self, context: EpisodeContext) -> None:
        self._rng = episode_rng(self.seed, context)
        self._home, self._gripper = None, -1.0
        self._new_goal()

    def _new_goal(self) -> None:
        self._goal = self._rng.uniform(self._low, self._high)
        self._goal_yaw = float(self._rng.uniform(-self._yaw, self._yaw))
        lean = self._rng.uniform(-self.tilt, self.tilt, 2)
        self._towards = matrix_from_rotation_vector(np.array([lean[0], lean[1], 0.0])) @ DOWN
        self._age = 0

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        tool = observation["tool/pose"].astype(np.float64)
        angle = self.servo.closing_angle(tool)
        if self._home is None:
            self._home, self._turned = angle, 0.0
        else:
            # Counted over whole turns: the short way to a yaw may lead through the limit.
            self._turned += wrap(angle - self._last_angle, 2 * np.pi)
        self._last_angle = angle
        self._age += 1
        if np.linalg.norm(tool[:3] - self._goal) < self.reached or self._age > self.patience:
            self._new_goal()
        if self._rng.random() < self.toggle:
            self._gripper = -self._gripper
        return SourceAction(self.servo.action(tool, self._goal, self._goal_yaw - self._turned, self._gripper, self._towards))

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """A person drove: begin anew from where the arm is then."""
        self._age = self.patience
