"""Wrist wrench processing, shared by the force node and the ArmLoop: payload, tare, low-pass, saturation and stuck checks.

Sign convention of the suite: on the tool, by the world, expressed in the sensor frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

GRAVITY = 9.80665


@dataclass(frozen=True)
class WrenchConfig:
    """What is taken out of a raw wrench, and when the sensor is not believed."""

    payload_mass: float = 0.0
    """kg beyond the sensor (gripper and what it always carries)"""
    payload_com: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """m, sensor frame"""
    cutoff: float = 50.0
    """first-order low-pass, Hz; 0 disables (ours)"""
    saturation: float = 200.0
    """|force component| at which the sensor is taken as saturated, N (ours)"""
    stuck_samples: int = 200
    """identical raw samples in a row after which the sensor is taken as stuck (ours)"""


@dataclass
class WrenchFilter:
    """Stateful filter of one sensor. `update` -> filtered wrench float64 [6] (N, N m)."""

    config: WrenchConfig
    bias: np.ndarray = field(default_factory=lambda: np.zeros(6))
    value: np.ndarray | None = None
    saturated: bool = False
    stuck: bool = False
    _last: list[float] | None = None
    _same: int = 0
    _dt: float = -1.0
    _alpha: float = 1.0

    def compensate(self, raw: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Takes the payload's weight out; `rotation` is the sensor frame in the base frame, [3, 3]."""
        if self.config.payload_mass == 0.0:
            return raw
        weight = self.config.payload_mass * -GRAVITY * rotation[2]
        com = self.config.payload_com
        return raw - np.array([
            weight[0], weight[1], weight[2],
            com[1] * weight[2] - com[2] * weight[1],
            com[2] * weight[0] - com[0] * weight[2],
            com[0] * weight[1] - com[1] * weight[0],
        ])

    def tare(self, raw: np.ndarray, rotation: np.ndarray) -> None:
        """Makes the mean of `raw` [N, 6], measured at rest in free space, the zero."""
        self.bias = self.compensate(np.mean(np.atleast_2d(raw), axis=0), rotation)
        self.value = None

    def update(self, raw: np.ndarray, rotation: np.ndarray, dt: float) -> np.ndarray:
        """One sample; raises ValueError on NaN or infinity, which the caller treats as a stale sensor.

        Plain floats: at six numbers they cost a third of what numpy does, and this runs at 1 kHz.
        """
        sample = raw.tolist()
        fx, fy, fz, tx, ty, tz = sample
        total = fx + fy + fz + tx + ty + tz
        if total - total != 0.0:
            raise ValueError("wrench holds NaN or infinity")
        self._same = self._same + 1 if sample == self._last else 0
        self._last = sample
        self.stuck = self._same >= self.config.stuck_samples
        top = self.config.saturation
        self.saturated = not (-top < fx < top and -top < fy < top and -top < fz < top)
        mass = self.config.payload_mass
        if mass != 0.0:
            down = rotation[2].tolist()
            wx, wy, wz = (mass * -GRAVITY * d for d in down)
            cx, cy, cz = self.config.payload_com
            sample = [fx - wx, fy - wy, fz - wz, tx - (cy * wz - cz * wy), ty - (cz * wx - cx * wz), tz - (cx * wy - cy * wx)]
        bias, value = self.bias.tolist(), self.value
        if value is None or self.config.cutoff <= 0:
            self.value = np.array([x - b for x, b in zip(sample, bias, strict=True)])
        else:
            if dt != self._dt:
                self._dt, self._alpha = dt, 1.0 - math.exp(-2.0 * math.pi * self.config.cutoff * dt)
            a = self._alpha
            self.value = np.array([v + a * (x - b - v) for x, b, v in zip(sample, bias, value.tolist(), strict=True)])
        return self.value


def force_in_base(wrench: np.ndarray, tool_pose: np.ndarray, sensor_in_tool: np.ndarray) -> np.ndarray:
    """Force on the tool by the world in the base frame, N: [..., 3] of wrench [..., 6] and tool pose [..., 7] (xyzw).

    `sensor_in_tool` [3, 3]: the sensor's orientation in the tool's frame (urdf.hand). Pressing down reads upwards: z > 0.
    """
    force = np.asarray(wrench, dtype=np.float64)[..., :3] @ sensor_in_tool.T
    pose = np.asarray(tool_pose, dtype=np.float64)
    axis, w = pose[..., 3:6], pose[..., 6:7]
    turn = 2.0 * np.cross(axis, force)
    return force + w * turn + np.cross(axis, turn)
