"""From a normalised action to a joint target: the stages of the safety chain in their order, for each action space."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from apprentice_control.differential_ik import DifferentialIK
from apprentice_control.disturbance import Disturbance
from apprentice_control.kinematics import Kinematics
from apprentice_control.safety import (
    ActionGate,
    ForceGate,
    JointLimiter,
    JointVelocityCap,
    Motion,
    RotationClamp,
    StageRecord,
    VelocityCap,
    WorkspaceBox,
)
from apprentice_control.slices import Slices, finish
from apprentice_control.spline import Setpoint
from apprentice_core.config import Limits, RobotProfile
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ActionSpace

LEASH_POSITION, LEASH_ROTATION, LEASH_JOINT = 0.015, 0.1, 0.1
"""m, rad, rad: how far the reference may run ahead of the measured arm, so that a blocked arm builds no force (ours)"""
BULGE = 3e-4
"""m per (0.1 s)^2: what a joint-space move at full speed bulges out between two tool positions (ours)"""
ROTATION_BULGE = 1e-3
"""rad per (0.1 s)^2, likewise (ours)"""


def turned(rotation: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """A twist [6] in other axes, both halves by `rotation` [3, 3]."""
    return np.concatenate([rotation @ twist[:3], rotation @ twist[3:]])


@dataclass(frozen=True)
class Plan:
    """Joint `target` [n] at the end of the control period; `gripper`: > 0 close, < 0 open, 0 leave; actions normalised float32."""

    target: np.ndarray
    gripper: float
    mixed: np.ndarray
    executed: np.ndarray
    stages: list[StageRecord]


class ActionChain:
    """The stages with the effective `limits` (complete, see RobotProfile)."""

    def __init__(self, profile: RobotProfile, limits: Limits, kinematics: Kinematics, period: float):
        box, rotation, speeds = limits.workspace, limits.rotation, limits.joint_velocity
        linear, angular = limits.linear_velocity, limits.angular_velocity
        soft, hard, margin = limits.force_soft, limits.force_hard, limits.joint_margin
        if box is None or rotation is None or speeds is None or linear is None or angular is None or soft is None or hard is None:
            raise ConfigError(profile.name, "limits", "must be complete")
        if len(speeds) != kinematics.n:
            raise ConfigError(profile.name, "limits.joint_velocity", f"{len(speeds)} numbers for {kinematics.n} joints")
        self.kinematics, self.period, self.joints = kinematics, period, profile.arm_joints
        velocity = np.minimum(np.array(speeds), kinematics.velocity)
        home = np.array(profile.home)
        self.home_pose = kinematics.forward(home)
        lower, upper = kinematics.lower + (margin or 0.0), kinematics.upper - (margin or 0.0)
        if (home < lower).any() or (home > upper).any():
            raise ConfigError(profile.name, "home", "outside the joint limits with their margin")
        self.gate = ActionGate()
        self.cap = VelocityCap(linear, angular, limits.displacement, period)
        self.joint_cap = JointVelocityCap(velocity)
        bulge = (period / 0.1) ** 2
        self.box = WorkspaceBox(box, BULGE * bulge)
        self.rotation = RotationClamp(rotation, self.home_pose.rotation, angular, ROTATION_BULGE * bulge)
        self.force = ForceGate(soft, hard, limits.force_slow, period)
        self.limiter = JointLimiter(DifferentialIK(kinematics, lower, upper, home), velocity, self.cap.bound, self.box, self.rotation)
        self.disturbance: Disturbance | None = None
        """simulation only: ArmLoop.disturb sets it"""
        self._usable: dict[ActionSpace, str] = {}

    def unusable(self, space: ActionSpace) -> str:
        """'' or why this chain cannot act in `space`."""
        if space not in self._usable:
            names = [d.name for d in space.dimensions]
            wanted = {
                "cartesian_velocity_gripper": ["vx", "vy", "vz", "wx", "wy", "wz", "gripper"],
                "cartesian_displacement": ["dx", "dy", "dz"],
                "tool_velocity": ["vx", "vy", "vz", "wx", "wy", "wz"],
                "joint_velocity_gripper": [*self.joints, "gripper"],
            }.get(space.name)
            fault = "" if names == wanted else f"action space {space.name!r} with {', '.join(names)} is not one of this arm's"
            self._usable[space] = fault
        return self._usable[space]

    def plan(self, space: ActionSpace, values: object, setpoint: Setpoint, measured: np.ndarray, force: np.ndarray) -> Plan:
        """Runs every stage on one action. `measured` [n] joints; `force` [3] on the tool by the world, base frame, N."""
        return finish(self.slices(space, values, setpoint, measured, force))

    def slices(
        self, space: ActionSpace, values: object, setpoint: Setpoint, measured: np.ndarray, force: np.ndarray
    ) -> Slices[Plan]:
        """`plan` that pauses between stages and within the IK, for the same result as long as the goal of `setpoint` stays.

        The set point may move on meanwhile: the last slice limits the joints' and the tool's speed from where it stands then.
        """
        mixed, gate = self.gate(space, values)
        before, wanted = [gate], mixed
        if self.disturbance is not None:
            wanted, added = self.disturbance(space, mixed)
            before.append(added)
        si = space.to_si(wanted)
        yield
        if space.name == "joint_velocity_gripper":
            return (yield from self._joint(space, mixed, si, before, setpoint, measured, force))
        return (yield from self._cartesian(space, mixed, si, before, setpoint, measured, force))

    def _cartesian(
        self, space: ActionSpace, mixed: np.ndarray, si: np.ndarray, before: list[StageRecord], setpoint: Setpoint,
        measured: np.ndarray, force: np.ndarray,
    ) -> Slices[Plan]:
        displacement, of_tool = space.name == "cartesian_displacement", space.name == "tool_velocity"
        twist = np.concatenate([si / self.period, np.zeros(3)]) if displacement else si[:6]
        position, rotation = self._leash(setpoint.goal, measured)
        if of_tool:
            twist = turned(rotation, twist)
        motion = Motion(position, rotation, twist, self.period, force)
        yield
        stages = [*before, self.cap(motion), self.box(motion), self.rotation(motion), self.force(motion)]
        yield
        target, ik = yield from self.limiter.solve(motion, setpoint.goal)
        yield
        target, limit = self.limiter.limit(target, setpoint.position, self.period)
        done = motion.twist
        if ik.changed or limit.changed:
            reached = self.kinematics.forward(target)
            done = np.concatenate([reached.position - position, pin.log3(reached.rotation @ rotation.T)]) / self.period
        executed = mixed.copy()
        if any(s.changed for s in (*stages[1:], ik, limit)):
            if displacement:
                executed = space.from_si(done[:3] * self.period)
            elif of_tool:
                executed = space.from_si(turned(rotation.T, done))
            else:
                executed[:6] = space.from_si(np.concatenate([done, [0.0]]))[:6]
        return Plan(target, float(mixed[6]) if space.size > 6 else 0.0, mixed, executed, [*stages, ik, limit])

    def _joint(
        self, space: ActionSpace, mixed: np.ndarray, si: np.ndarray, before: list[StageRecord], setpoint: Setpoint,
        measured: np.ndarray, force: np.ndarray,
    ) -> Slices[Plan]:
        speed, cap = self.joint_cap(si[:-1])
        reference = np.minimum(np.maximum(setpoint.goal, measured - LEASH_JOINT), measured + LEASH_JOINT)
        target = reference + speed * self.period
        first, last = self.kinematics.forward(reference), self.kinematics.forward(target)
        twist = np.concatenate([last.position - first.position, pin.log3(last.rotation @ first.rotation.T)]) / self.period
        motion = Motion(first.position, first.rotation, twist, self.period, force)
        yield
        stages = [*before, cap, self.box(motion), self.rotation(motion), self.force(motion)]
        yield
        if any(s.changed for s in stages[len(before) + 1 :]):
            target, ik = yield from self.limiter.solve(motion, target)
            yield
        else:
            ik = StageRecord("ik", tuple(target.tolist()), tuple(target.tolist()), False)
        target, limit = self.limiter.limit(target, setpoint.position, self.period)
        executed = mixed.copy()
        if any(s.changed for s in (*stages[1:], ik, limit)):
            executed[:-1] = space.from_si(np.concatenate([(target - reference) / self.period, [0.0]]))[:-1]
        return Plan(target, float(mixed[-1]), mixed, executed, [*stages, ik, limit])

    def _leash(self, goal: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The reference pose: the last commanded one, drawn in to within the leash of the measured one."""
        commanded, actual = self.kinematics.forward(goal), self.kinematics.forward(measured)
        position, rotation = commanded.position, commanded.rotation
        ahead = position - actual.position
        distance = math.hypot(*ahead.tolist())
        if distance > LEASH_POSITION:
            position = actual.position + ahead * (LEASH_POSITION / distance)
        turn = pin.log3(rotation @ actual.rotation.T)
        angle = math.hypot(*turn.tolist())
        if angle > LEASH_ROTATION:
            rotation = pin.exp3(turn * (LEASH_ROTATION / angle)) @ actual.rotation
        return position, rotation

    def cycles_for(self, start: np.ndarray, target: np.ndarray, share: float, cycle: float) -> int:
        """Cycles of `cycle` s for a move from `start` to `target` [n] at `share` of the joint limits and within the tool's caps."""
        first, last = self.kinematics.forward(start), self.kinematics.forward(target)
        twist = np.concatenate([last.position - first.position, pin.log3(last.rotation @ first.rotation.T)])
        joints, tool = np.abs(target - start) / (share * self.joint_cap.velocity), np.abs(twist) / self.cap.bound
        return max(1, int(np.ceil(max(float(np.max(joints)), float(np.max(tool))) / cycle)))
