"""Test backends that obey ArmBackend, and a driver over ArmLoop."""

from __future__ import annotations

import numpy as np

from apprentice_control.arm_loop import ArmCommand, ArmLoop
from apprentice_control.backend import ArmState
from apprentice_core.config import Limits, RobotProfile, load_robot
from apprentice_core.spaces import ActionSpace, cartesian_velocity_gripper

ROBOTS = ("sawyer", "widowx")


class KinematicArm:
    """A test backend without dynamics: it stands exactly where the set point was one cycle ago."""

    def __init__(self, profile: RobotProfile, capabilities: frozenset[str] = frozenset({"lockstep"}), cycle: float = 0.001):
        self.capabilities, self.period = capabilities, cycle
        self.position = np.array(profile.home)
        self.velocity = np.zeros(len(profile.home))
        self.fingers = np.array(profile.gripper.open)
        self.stamp, self.wrench = 100.0, np.zeros(6)
        self.wrench_stamp: float | None = None
        self.torque: np.ndarray | None = None
        self.target: np.ndarray | None = None
        self.commanded: np.ndarray | None = None
        self.effort: np.ndarray | None = None
        self.closed: float | None = None
        self.stops = self.commands = 0

    def read(self) -> ArmState:
        fingers, zero = self.fingers.copy(), np.zeros(2)
        stamp = self.stamp if self.wrench_stamp is None else self.wrench_stamp
        return ArmState(self.stamp, self.position.copy(), self.velocity.copy(), np.zeros(len(self.position)), fingers, zero, zero,
                        self.wrench.copy(), stamp)

    def command_torque(self, torque: np.ndarray) -> None:
        self.torque, self.commands = torque.copy(), self.commands + 1

    def command_position(self, position: np.ndarray) -> None:
        self.target, self.commands = position.copy(), self.commands + 1

    def command_velocity(self, velocity: np.ndarray, effort: np.ndarray) -> None:
        self.commanded, self.effort, self.commands = velocity.copy(), effort.copy(), self.commands + 1

    def command_gripper(self, closed: float) -> None:
        self.closed = closed

    def stop_commanding(self) -> None:
        self.stops += 1

    def close(self) -> None:
        self.stops += 1

    def advance(self) -> None:
        self.stamp += self.period


class Rig:
    """ArmLoop over a KinematicArm: `act` submits and runs one control period; the payload's weight is on the sensor."""

    def __init__(
        self, robot: str | RobotProfile = "sawyer", limits: Limits | None = None, period: float = 0.1, delay: float = 0.0, **options
    ):
        self.profile = load_robot(robot) if isinstance(robot, str) else robot
        self.arm = KinematicArm(self.profile, options.pop("capabilities", frozenset({"lockstep"})), options.pop("cycle", 0.001))
        self.loop = ArmLoop(self.profile, limits or Limits(), self.arm, period, delay, **options)
        self.force = np.zeros(3)
        self.follow = self.fresh_wrench = self.fresh_joints = True
        self.step_id = 0
        self.space = cartesian_velocity_gripper()
        self.weigh()
        self.loop.engage()

    def weigh(self) -> None:
        """Puts the payload's weight, and `force` (base frame) on top of it, on the sensor."""
        rotation = self.loop.kinematics.sensor_rotation(self.arm.position)
        config = self.loop.wrench_filter.config
        weight = rotation.T @ np.array([0.0, 0.0, -config.payload_mass * 9.80665])
        self.arm.wrench = np.concatenate([weight + rotation.T @ self.force, np.cross(config.payload_com, weight)])

    def run(self, cycles: int, each=None) -> None:
        for _ in range(cycles):
            self.loop.tick()
            if each is not None:
                each()
            if self.fresh_joints:
                self.arm.stamp += self.arm.period
            if not self.fresh_wrench and self.arm.wrench_stamp is None:
                self.arm.wrench_stamp = self.arm.stamp - self.arm.period
            if self.follow:
                self.arm.position = self.loop.setpoint.position.copy()
            self.weigh()

    def submit(self, values, space: ActionSpace | None = None, episode: str = "e1") -> bool:
        self.step_id += 1
        return self.loop.submit(ArmCommand(self.step_id, episode, "policy", space or self.space, values))

    def act(self, values, space: ActionSpace | None = None, episode: str = "e1", cycles: int | None = None, each=None):
        assert self.submit(values, space, episode)
        self.run(cycles or self.loop.cycles, each)
        return self.loop.applied()

    def codes(self) -> list[str]:
        return [e.code for e in self.loop.drain_events()]
