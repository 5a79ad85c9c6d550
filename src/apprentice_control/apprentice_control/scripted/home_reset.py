"""Brings the arm home: opens the gripper, retracts upwards, then moves every joint to its home position."""

from __future__ import annotations

import numpy as np

from apprentice_control.kinematics import Kinematics
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import Observation, joint_velocity_gripper


class HomeReset:
    """ActionSource in joint-velocity space; asks to end once the arm is home and still and the gripper open.

    `tolerance` rad on every joint, `clear`: how far below home height the tool must have risen before it moves sideways, m (ours).
    """

    needs_privileged = False
    bundle_id = ""

    def __init__(
        self, profile: RobotProfile, kinematics: Kinematics, period: float = 0.1, speed: float = 0.6, tolerance: float = 0.01,
        clear: float = 0.03, name: str = "reset",
    ):
        self.name, self.tolerance = name, tolerance
        self.action_space = joint_velocity_gripper(profile.arm_joints, speed)
        self.kinematics, self.period, self.speed = kinematics, period, speed
        self.home = np.array(profile.home)
        self._clear_height = float(kinematics.forward(self.home).position[2]) - clear
        self._open = np.array(profile.gripper.open)
        self._span = float(np.abs(self._open - np.array(profile.gripper.closed)).max())
        self._retracting = True

    def reset(self, context: EpisodeContext) -> None:
        self._retracting = True

    def at_home(self, observation: Observation) -> bool:
        """Position and speed of every joint, and the gripper's opening within a tenth of its span."""
        near = float(np.abs(observation["joints/position"] - self.home).max()) < self.tolerance
        still = float(np.abs(observation["joints/velocity"]).max()) < 0.05
        opened = float(np.abs(observation["gripper/position"] - self._open).max()) < 0.1 * self._span
        return near and still and opened

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        q = observation["joints/position"].astype(np.float64)
        if self._retracting and observation["tool/pose"][2] > self._clear_height:
            self._retracting = False
        if self._retracting:
            velocity = self._upwards(q)
        else:
            velocity = 0.6 / self.period * (self.home - q)
        velocity = velocity / max(1.0, float(np.abs(velocity).max()) / self.speed)
        values = np.append(velocity / self.speed, -1.0).astype(np.float32)
        return SourceAction(values, request_end=self.at_home(observation))

    def _upwards(self, q: np.ndarray) -> np.ndarray:
        """Joint velocities that raise the tool at 0.12 m/s without turning it (damped least squares)."""
        jacobian = np.asarray(self.kinematics.jacobian(q))
        wanted = np.array([0.0, 0.0, 0.12, 0.0, 0.0, 0.0])
        return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), wanted)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: retract again first."""
        self._retracting = True
