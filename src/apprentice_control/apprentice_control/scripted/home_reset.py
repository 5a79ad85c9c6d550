"""Brings the arm home: opens the gripper, retracts upwards, then moves every joint to its home position.

Where that way would leave the workspace the safety chain stops the arm. Then the tool goes straight to its place at home, which stays in
the box, since the box is convex.
"""

from __future__ import annotations

import numpy as np

from apprentice_control.differential_ik import DifferentialIK
from apprentice_control.kinematics import Kinematics
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import matrix_from_rotation_vector, rotation_vector
from apprentice_core.spaces import Observation, joint_velocity_gripper

PATIENCE = 8
"""answers without getting closer by every joint's `tolerance`, after which the other way is taken (ours)"""
CLOSE = 0.02, 0.1
"""the tool's straight way ends so near to home, m and rad; from there the joints go on (ours)"""
TOOL_SPEED = 0.12, 0.5
"""of the tool on its straight way, m/s and rad/s (ours)"""


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
        self._place = kinematics.forward(self.home)
        self._ik = DifferentialIK(kinematics, kinematics.lower, kinematics.upper, self.home)
        self._retracting, self._straight, self._nearest, self._stuck = True, False, np.inf, 0

    def reset(self, context: EpisodeContext) -> None:
        self._retracting, self._straight, self._nearest, self._stuck = True, False, np.inf, 0

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
            velocity = self._homewards(q)
        velocity = velocity / max(1.0, float(np.abs(velocity).max()) / self.speed)
        values = np.append(velocity / self.speed, -1.0).astype(np.float32)
        return SourceAction(values, request_end=self.at_home(observation))

    def _upwards(self, q: np.ndarray) -> np.ndarray:
        """Joint velocities that raise the tool at 0.12 m/s without turning it (damped least squares)."""
        jacobian = np.asarray(self.kinematics.jacobian(q))
        wanted = np.array([0.0, 0.0, 0.12, 0.0, 0.0, 0.0])
        return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), wanted)

    def _homewards(self, q: np.ndarray) -> np.ndarray:
        """Joint velocities of the way that is taken now; without progress on it, of the other."""
        pose = self.kinematics.forward(q)
        way, turn = self._place.position - pose.position, rotation_vector(self._place.rotation @ pose.rotation.T)
        distance, angle = float(np.linalg.norm(way)), float(np.linalg.norm(turn))
        left = distance + angle if self._straight else float(np.abs(self.home - q).max())
        if left < self._nearest - self.tolerance:
            self._nearest, self._stuck = left, 0
        elif left > self.tolerance:
            self._stuck += 1
        arrived = self._straight and distance < CLOSE[0] and angle < CLOSE[1]
        if self._stuck > PATIENCE or arrived:
            self._straight, self._nearest, self._stuck = not self._straight, np.inf, 0
        if not self._straight:
            return 0.6 / self.period * (self.home - q)
        share = min(1.0, *(speed * self.period / max(much, 1e-9) for speed, much in zip(TOOL_SPEED, (distance, angle), strict=True)))
        rotation = matrix_from_rotation_vector(share * turn) @ pose.rotation
        return (self._ik.solve(q, pose.position + share * way, rotation, self.period).q - q) / self.period

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: retract again first."""
        self._retracting = True
