"""Joint-space impedance control with anti-windup (spec 001c section 1.1), allocation-free per call."""

from __future__ import annotations

import numpy as np

from apprentice_core.config import ImpedanceGains

INTEGRAL_SHARE = 0.2
"""|tau_I| <= this share of tau_max (spec 001c section 1.1)"""


def per_joint(value: tuple[float, ...] | float, n: int) -> np.ndarray:
    """One number for all joints, or one each, as float64 [n]."""
    return np.full(n, float(value)) if isinstance(value, int | float) else np.array(value, dtype=np.float64)


class JointImpedance:
    """tau_raw = Kp (q_d - q) + tau_I - Kd qdot; tau_sat = clip(tau_raw, tau_max); tau = tau_sat + g(q).

    d(tau_I)/dt = Ki (q_d - q) + (tau_sat - tau_raw) / T_t, then |tau_I| <= 0.2 tau_max; Ki = 0 pins tau_I at zero.
    The stiffness ramps up over `gains.ramp` seconds after `engage`. With `gains.velocity_feedforward` the damping acts on
    qdot - qdot_d (ours). All arrays are float64 [n] in the profile's joint order.
    """

    def __init__(self, gains: ImpedanceGains, period: float, effort: np.ndarray):
        n = len(gains.tau_max)
        self.gains, self.period, self.effort = gains, period, effort
        self.tau_max = np.array(gains.tau_max, dtype=np.float64)
        self.kp_full = per_joint(gains.kp, n)
        self.kd = np.zeros(n) if gains.kd is None else per_joint(gains.kd, n)
        self.integral = np.zeros(n)
        self.torque = np.zeros(n)
        self.saturated = np.zeros(n)
        self._kp, self._error, self._raw, self._work = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
        self._gravity = np.zeros(n)
        self._high, self._low = self.tau_max.copy(), -self.tau_max
        self._cap = INTEGRAL_SHARE * self.tau_max
        self._floor = -self._cap
        self._ramp = 0.0
        self.engage()

    def engage(self) -> None:
        """Starts anew: no integral, stiffness from zero."""
        self.integral[:] = 0.0
        self._ramp = 0.0 if self.gains.ramp > 0 else 1.0
        np.multiply(self.kp_full, self._ramp, out=self._kp)

    def clear_integral(self) -> None:
        """On abort (spec 001c section 1.1)."""
        self.integral[:] = 0.0

    def set_dynamics(self, gravity: np.ndarray, mass_diagonal: np.ndarray | None) -> None:
        """Gravity torques and, where `kd` follows it, the mass matrix' diagonal at the present configuration."""
        if self.gains.add_gravity:
            self._gravity[:] = gravity
        # What gravity takes of the actuator's effort is not there for control.
        np.minimum(self.tau_max, self.effort - self._gravity, out=self._high)
        np.maximum(-self.tau_max, -self.effort - self._gravity, out=self._low)
        if self.gains.kd is None and mass_diagonal is not None:
            np.multiply(self.kp_full, mass_diagonal, out=self.kd)
            np.sqrt(self.kd, out=self.kd)
            self.kd *= 2.0 * self.gains.zeta

    def update(self, q: np.ndarray, velocity: np.ndarray, q_d: np.ndarray, velocity_d: np.ndarray) -> np.ndarray:
        """One cycle of `period` seconds -> torque [n] N m (the array is reused by the next call)."""
        if self._ramp < 1.0:
            self._ramp = min(1.0, self._ramp + self.period / self.gains.ramp)
            np.multiply(self.kp_full, self._ramp, out=self._kp)
        error, raw, work, saturated = self._error, self._raw, self._work, self.saturated
        np.subtract(q_d, q, out=error)
        np.multiply(self._kp, error, out=raw)
        np.add(raw, self.integral, out=raw)
        if self.gains.velocity_feedforward:
            np.subtract(velocity, velocity_d, out=work)
            np.multiply(work, self.kd, out=work)
        else:
            np.multiply(velocity, self.kd, out=work)
        np.subtract(raw, work, out=raw)
        np.minimum(raw, self._high, out=saturated)
        np.maximum(saturated, self._low, out=saturated)
        if self.gains.ki > 0:
            np.subtract(saturated, raw, out=raw)
            np.multiply(raw, self.period / self.gains.anti_windup_time, out=raw)
            np.multiply(error, self.gains.ki * self.period, out=error)
            np.add(error, raw, out=error)
            np.add(self.integral, error, out=self.integral)
            np.minimum(self.integral, self._cap, out=self.integral)
            np.maximum(self.integral, self._floor, out=self.integral)
        np.add(saturated, self._gravity, out=self.torque)
        return self.torque
