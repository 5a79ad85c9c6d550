"""Wrist wrench processing, shared by the force node and the ArmLoop: payload, tare, low-pass, saturation and stuck checks.

Sign convention of the suite: on the tool, by the world, expressed in the sensor frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

GRAVITY = 9.80665


@dataclass(frozen=True)
class WrenchConfig:
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
    _last: np.ndarray | None = None
    _same: int = 0

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
        """One sample; raises ValueError on NaN or infinity, which the caller treats as a stale sensor."""
        if not np.isfinite(raw).all():
            raise ValueError("wrench holds NaN or infinity")
        self._same = self._same + 1 if self._last is not None and np.array_equal(raw, self._last) else 0
        self._last = raw.copy()
        self.stuck = self._same >= self.config.stuck_samples
        self.saturated = bool(np.max(np.abs(raw[:3])) >= self.config.saturation)
        clean = self.compensate(raw, rotation) - self.bias
        if self.value is None or self.config.cutoff <= 0:
            self.value = clean
        else:
            alpha = 1.0 - np.exp(-2.0 * np.pi * self.config.cutoff * dt)
            self.value = self.value + alpha * (clean - self.value)
        return self.value
