"""Joint-space impedance control with anti-windup (spec 001c section 1.1).

Plain floats: at seven joints they cost a third of what numpy does, and this runs at 1 kHz.
"""

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
        self._cap: list[float] = (INTEGRAL_SHARE * self.tau_max).tolist()
        self._damping: list[float] = self.kd.tolist()
        self._integral, self._gravity = [0.0] * n, [0.0] * n
        self._high: list[float] = self.tau_max.tolist()
        self._low: list[float] = (-self.tau_max).tolist()
        self._ramp = 0.0
        self.engage()

    @property
    def integral(self) -> np.ndarray:
        """tau_I [n], N m."""
        return np.array(self._integral)

    def engage(self) -> None:
        """Starts anew: no integral, stiffness from zero."""
        self.clear_integral()
        self._ramp = 0.0 if self.gains.ramp > 0 else 1.0
        self._kp: list[float] = (self._ramp * self.kp_full).tolist()

    def clear_integral(self) -> None:
        """On abort (spec 001c section 1.1)."""
        self._integral = [0.0] * len(self._integral)

    def set_dynamics(self, gravity: np.ndarray, mass_diagonal: np.ndarray | None) -> None:
        """Gravity torques and, where `kd` follows it, the mass matrix' diagonal at the present configuration."""
        given = gravity if self.gains.add_gravity else np.zeros(len(self._gravity))
        self._gravity = given.tolist()
        # What gravity takes of the actuator's effort is not there for control.
        self._high = np.minimum(self.tau_max, self.effort - given).tolist()
        self._low = np.maximum(-self.tau_max, -self.effort - given).tolist()
        if self.gains.kd is None and mass_diagonal is not None:
            self.kd = 2.0 * self.gains.zeta * np.sqrt(self.kp_full * mass_diagonal)
            self._damping = self.kd.tolist()

    def update(self, q: np.ndarray, velocity: np.ndarray, q_d: np.ndarray, velocity_d: np.ndarray) -> np.ndarray:
        """One cycle of `period` seconds -> torque [n] N m."""
        if self._ramp < 1.0:
            self._ramp = min(1.0, self._ramp + self.period / self.gains.ramp)
            self._kp = (self._ramp * self.kp_full).tolist()
        ki, unwind = self.gains.ki * self.period, self.period / self.gains.anti_windup_time
        forward, integral = (1.0 if self.gains.velocity_feedforward else 0.0), self._integral
        torque: list[float] = []
        rows = zip(
            self._kp, self._damping, self._high, self._low, self._cap, self._gravity, q.tolist(), velocity.tolist(), q_d.tolist(),
            velocity_d.tolist(), strict=True,
        )
        for i, (kp, kd, high, low, cap, gravity, position, speed, goal, goal_speed) in enumerate(rows):
            error = goal - position
            raw = kp * error + integral[i] - kd * (speed - forward * goal_speed)
            saturated = high if raw > high else low if raw < low else raw
            if ki > 0.0:
                grown = integral[i] + ki * error + unwind * (saturated - raw)
                integral[i] = cap if grown > cap else -cap if grown < -cap else grown
            torque.append(saturated + gravity)
        return np.array(torque)
