"""The stages of the safety chain (contract 8), one small class each, each saying what it changed.

Order: gate -> cap -> workspace -> rotation -> force_soft -> ik -> joint_limit; the watchdogs and the hard force check run in
every cycle. The Cartesian stages work on a `Motion`: a reference pose and a tool twist that lasts one control period.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from apprentice_control.differential_ik import DifferentialIK, velocity_scale
from apprentice_control.kinematics import ToolPose
from apprentice_control.slices import Slices
from apprentice_core.config import Box
from apprentice_core.spaces import ActionSpace

EPSILON = 1e-9
TOOL_SLACK = 1e-3
"""relative, ours"""
RECOVERY = 2.0
"""1/s: how fast the force limiter gives back speed once the force falls (ours)"""
SHORTER = 5
"""halvings of a joint move that would leave the workspace, before the arm stays where it is (ours)"""


@dataclass(frozen=True)
class StageRecord:
    """`before` and `after`: tool twist [6] in m/s and rad/s (joint spaces: cap in rad/s; ik and joint_limit: joint targets in rad)."""

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    changed: bool
    reason: str = ""


def record(name: str, before: np.ndarray, after: np.ndarray, reason: str, tolerance: float = EPSILON) -> StageRecord:
    """A StageRecord whose `changed` says whether any number moved by more than `tolerance`; the reason stands only then."""
    first, last = tuple(before.tolist()), tuple(after.tolist())
    changed = any(abs(a - b) > tolerance for a, b in zip(first, last, strict=True))
    return StageRecord(name, first, last, changed, reason if changed else "")


@dataclass
class Motion:
    """What is asked of the tool for `period` seconds: from the reference pose, with `twist` [6] in the base frame."""

    position: np.ndarray
    rotation: np.ndarray
    twist: np.ndarray
    period: float
    force: np.ndarray
    """filtered contact force on the tool by the world, base frame, N"""

    def target_position(self) -> np.ndarray:
        return self.position + self.twist[:3] * self.period

    def target_rotation(self) -> np.ndarray:
        return pin.exp3(self.twist[3:] * self.period) @ self.rotation


class ActionGate:
    """Refuses what is no finite action of the space: such an action becomes the neutral one (zero motion)."""

    name = "nan"

    def __call__(self, space: ActionSpace, values: object) -> tuple[np.ndarray, StageRecord]:
        with np.errstate(over="ignore", invalid="ignore"):
            clean, fault = space.clean(values)
            if not fault:
                before = np.asarray(values, dtype=np.float64)
                return clean, record(self.name, before, clean.astype(np.float64), "beyond [-1, 1]", 1e-6)
            try:
                raw = np.asarray(values, dtype=np.float64).ravel()[: 4 * space.size]
            except (TypeError, ValueError, OverflowError):
                raw = np.zeros(0)
        return clean, StageRecord(self.name, tuple(raw.tolist()), tuple(clean.astype(float).tolist()), True, fault)


class VelocityCap:
    """Clips every axis of the twist: m/s, rad/s, and m per step."""

    name = "cap"

    def __init__(self, linear: float, angular: float, displacement: float | None, period: float):
        reach = linear if displacement is None else min(linear, displacement / period)
        self.bound = np.array([reach] * 3 + [angular] * 3)

    def __call__(self, motion: Motion) -> StageRecord:
        before = motion.twist
        motion.twist = np.minimum(np.maximum(before, -self.bound), self.bound)
        return record(self.name, before, motion.twist, "per-axis cap")


class JointVelocityCap:
    """Shortens a joint velocity [n] as a whole until no joint exceeds its limit, so that its direction stays."""

    name = "cap"

    def __init__(self, velocity: np.ndarray):
        self.velocity = velocity

    def __call__(self, speed: np.ndarray) -> tuple[np.ndarray, StageRecord]:
        after = speed * velocity_scale(speed, self.velocity)
        return after, record(self.name, speed, after, "joint velocity")


class WorkspaceBox:
    """Keeps the target position in the box. From outside (after a reset by hand) the tool may only come nearer, axis by axis.

    `inset`: how far a straight move in joint space may bulge out between two points on the box's face, m.
    """

    name = "workspace"

    def __init__(self, box: Box, inset: float = 0.0):
        self.inset = inset
        self.outer_low, self.outer_high = np.array(box.low), np.array(box.high)
        self.low, self.high = self.outer_low + inset, self.outer_high - inset

    def permits(self, position: np.ndarray, reference: np.ndarray) -> bool:
        """Whether `position` is in the box itself, or, from outside, no further out than `reference` but for a bulge."""
        low = np.where(reference < self.outer_low, reference - self.inset, self.outer_low - EPSILON)
        high = np.where(reference > self.outer_high, reference + self.inset, self.outer_high + EPSILON)
        return bool(((position >= low) & (position <= high)).all())

    def clamp(self, target: np.ndarray, reference: np.ndarray) -> np.ndarray:
        low = np.where(reference < self.outer_low, reference, self.low)
        high = np.where(reference > self.outer_high, reference, self.high)
        return np.minimum(np.maximum(target, low), high)

    def __call__(self, motion: Motion) -> StageRecord:
        before = motion.twist
        target = self.clamp(motion.target_position(), motion.position)
        motion.twist = np.concatenate([(target - motion.position) / motion.period, before[3:]])
        return record(self.name, before, motion.twist, "workspace box")


class RotationClamp:
    """Bounds each component of the rotation vector from the home orientation (base axes), rad; from beyond, only nearer.

    `inset`: as in WorkspaceBox, rad. A bound of pi is no bound: half a turn may go on beyond where the vector wraps.
    """

    name = "rotation"

    def __init__(self, limit: tuple[float, float, float], home: np.ndarray, angular: float, inset: float = 0.0):
        self.outer, self.home, self.angular, self.inset = np.array(limit), home, angular, inset
        self.limit = np.where(self.outer >= math.pi - 1e-6, math.pi, self.outer - inset)

    def permits(self, rotation: np.ndarray, reference: np.ndarray) -> bool:
        """Whether `rotation` is within the bounds themselves, or, from beyond, no further out than `reference` but for a bulge."""
        vector = np.abs(pin.log3(rotation @ self.home.T))
        if (vector <= self.outer + EPSILON).all():
            return True
        now = np.abs(pin.log3(reference @ self.home.T))
        return bool((vector <= np.where(now > self.outer, now + self.inset, self.outer + EPSILON)).all())

    def clamp(self, rotation: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The nearest permitted orientation [3, 3] to `rotation` for a tool that now is at `reference`."""
        wanted = pin.log3(rotation @ self.home.T)
        if (np.abs(wanted) <= self.limit).all():
            return rotation
        now = pin.log3(reference @ self.home.T)
        low, high = np.where(now < -self.outer, now, -self.limit), np.where(now > self.outer, now, self.limit)
        clamped = np.minimum(np.maximum(wanted, low), high)
        return pin.exp3(clamped) @ self.home

    def __call__(self, motion: Motion) -> StageRecord:
        before = motion.twist
        target = motion.target_rotation()
        clamped = self.clamp(target, motion.rotation)
        if clamped is not target:
            turn = pin.log3(clamped @ motion.rotation.T) / motion.period
            # Where the rotation vector wraps at half a turn, the nearest permitted orientation may be a long way round.
            if float(np.max(np.abs(turn))) > self.angular * (1 + 1e-6):
                turn = np.zeros(3)
            motion.twist = np.concatenate([before[:3], turn])
        return record(self.name, before, motion.twist, "rotation limit")


class ForceGate:
    """Soft: no advance against a contact force above the limit, axis by axis (base frame). Hard: any axis beyond it aborts.

    `slow` (spec 000 section 2.14 and line 85): from this contact force on the part of the velocity that goes against it is scaled down,
    to nothing at `soft`. What is allowed falls at once and comes back by `RECOVERY` a second, so that an arm that was stopped does not
    knock on the contact again in the next period.
    """

    name = "force_soft"

    def __init__(self, soft: float, hard: float, slow: float | None = None, period: float = 0.1):
        self.soft, self.hard = soft, hard
        self.slow = None if slow is None else min(slow, soft - EPSILON)
        self.allowed, self._recovery = 1.0, RECOVERY * period

    def _slowed(self, motion: Motion) -> str:
        """Takes back the velocity against the force; '' or what was done."""
        if self.slow is None:
            return ""
        size = math.hypot(*motion.force.tolist())
        now = min(1.0, max(0.0, (self.soft - size) / (self.soft - self.slow)))
        self.allowed = min(now, self.allowed + self._recovery)
        if self.allowed >= 1.0 or size < EPSILON:
            return ""
        direction = motion.force / size
        against = min(0.0, float(direction @ motion.twist[:3]))
        motion.twist = np.concatenate([motion.twist[:3] - (1.0 - self.allowed) * against * direction, motion.twist[3:]])
        return f"{100 * self.allowed:.0f} % of the advance against {size:.0f} N"

    def __call__(self, motion: Motion) -> StageRecord:
        before = motion.twist
        slowed = self._slowed(motion)
        against = (np.abs(motion.force) > self.soft) & (motion.force * motion.twist[:3] < 0)
        axes = "".join(axis for axis, pressing in zip("xyz", against.tolist(), strict=True) if pressing)
        if axes:
            motion.twist = np.concatenate([np.where(against, 0.0, motion.twist[:3]), before[3:]])
        return record(self.name, before, motion.twist, f"pressing beyond the soft limit on {axes}" if axes else slowed)

    def violates(self, fx: float, fy: float, fz: float) -> bool:
        hard = self.hard
        return not (-hard <= fx <= hard and -hard <= fy <= hard and -hard <= fz <= hard)


class JointLimiter:
    """IK of a motion's target, then position limits (with margin), joint speeds, and once more the tool's speed and place.

    The last two look at what the joints really do: a shortened or stuck joint leads the tool elsewhere than it was told to.
    """

    def __init__(
        self, ik: DifferentialIK, velocity: np.ndarray, tool_bound: np.ndarray, box: WorkspaceBox, rotation: RotationClamp,
        tolerance: float = 5e-4,
    ):
        self.ik, self.velocity, self.tool_bound, self.tolerance = ik, velocity, tool_bound, tolerance
        self.box, self.rotation = box, rotation

    def solve(self, motion: Motion, seed: np.ndarray) -> Slices[tuple[np.ndarray, StageRecord]]:
        """Joint target [n] of the motion, searched from `seed`; the record says how far the arm falls short of it."""
        result = yield from self.ik.slices(seed, motion.target_position(), motion.target_rotation(), motion.period)
        short = max(result.position_error, result.rotation_error) > self.tolerance
        where = " at a joint's position limit" if result.at_limit else ""
        reason = f"{result.position_error * 1000:.1f} mm and {result.rotation_error:.3f} rad short{where}" if short else ""
        return result.q, StageRecord("ik", tuple(seed.tolist()), tuple(result.q.tolist()), short, reason)

    def limit(self, q: np.ndarray, start: np.ndarray, period: float) -> tuple[np.ndarray, StageRecord]:
        """Joint target `q` [n] brought within positions and, as a whole, within the speeds from set point `start`."""
        # A joint that already stands beyond its margin may come back but go no further.
        low, high = np.minimum(self.ik.lower, start), np.maximum(self.ik.upper, start)
        after = np.minimum(np.maximum(q, low), high)
        reason = "joint position" if bool((after != q).any()) else ""
        scale = velocity_scale((after - start) / period, self.velocity)
        if scale < 1.0:
            after, reason = start + scale * (after - start), reason or "joint velocity"
        first, last = self.ik.kinematics.forward(start), self.ik.kinematics.forward(after)
        twist = np.concatenate([last.position - first.position, pin.log3(last.rotation @ first.rotation.T)]) / period
        # The slack lets through what the IK's own tolerance adds to a move at full speed.
        scale = velocity_scale(twist, self.tool_bound * (1 + TOOL_SLACK))
        if scale < 1.0:
            after, reason = start + scale * (after - start), reason or "tool velocity"
        for _ in range(SHORTER):
            if self._stays_inside(start, after, first):
                break
            after, reason = start + 0.5 * (after - start), "joint move leaves the workspace"
        else:
            after = start.copy()
        return after, record("joint_limit", q, after, reason, 1e-7)

    def _stays_inside(self, start: np.ndarray, q: np.ndarray, first: ToolPose) -> bool:
        """Whether the tool is within its bounds half way and at the end of the joint move."""
        for share in (0.5, 1.0):
            pose = self.ik.kinematics.forward(start + share * (q - start))
            if not (self.box.permits(pose.position, first.position) and self.rotation.permits(pose.rotation, first.rotation)):
                return False
        return True


class Watchdog:
    """Ages in loop time: how long since the joint state, the wrench and the command last were new."""

    def __init__(self, sensor_timeout: float, command_timeout: float):
        self.sensor_timeout, self.command_timeout = sensor_timeout, command_timeout
        self.joints = self.wrench = self.command = 0.0

    def restart(self, now: float) -> None:
        self.joints = self.wrench = self.command = now

    def stale_sensor(self, now: float) -> str:
        """'' or which sensor is silent."""
        if now - self.joints > self.sensor_timeout:
            return "joint states"
        return "wrench" if now - self.wrench > self.sensor_timeout else ""

    def late_command(self, now: float) -> bool:
        return now - self.command > self.command_timeout
