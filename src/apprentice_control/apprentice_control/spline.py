"""The set point of velocity control (spec 001c section 1.1): a cubic from the joints' place and speed to rest at the goal."""

from __future__ import annotations

import numpy as np

from apprentice_control.setpoint import JointSetpoint

STRETCH, STRETCHES = 1.2, 24
"""a move that would break a cap takes so much longer, and so often, until it does not (ours)"""


class SplineSetpoint:
    """As JointSetpoint, with `position`, `velocity` and `goal` [n] (rad, rad/s) of a cubic with zero end velocity.

    `speed` rad/s and `acceleration` rad/s^2, [n]: a move that would exceed them takes longer, so the arm is slower and not elsewhere.
    """

    def __init__(self, n: int, period: float, speed: np.ndarray, acceleration: np.ndarray):
        self.period, self.speed, self.acceleration = period, speed, acceleration
        self.position, self.velocity, self.goal = np.zeros(n), np.zeros(n), np.zeros(n)
        self._start, self._slope, self._square, self._cube = (np.zeros(n) for _ in range(4))
        self._cycle = self._cycles = 0
        self._braking = False

    @property
    def moving(self) -> bool:
        return self._cycle < self._cycles

    def seed(self, q: np.ndarray, velocity: np.ndarray | None = None) -> None:
        """Stands at `q` from now on; with `velocity` the next move begins at that speed."""
        self.position[:] = q
        self.goal[:] = q
        self.velocity[:] = 0.0 if velocity is None else velocity
        self._cycle = self._cycles = 0
        self._braking = False

    def move_to(self, goal: np.ndarray, cycles: int) -> None:
        """Reaches `goal` and rests there after `cycles` cycles, or more where the caps ask for it."""
        self.goal[:] = goal
        self._braking = False
        way, slope = goal - self.position, self.velocity
        for _ in range(STRETCHES):
            t = cycles * self.period
            self._square = (3.0 * way - 2.0 * slope * t) / (t * t)
            self._cube = (slope * t - 2.0 * way) / (t * t * t)
            if self._within_caps(t):
                break
            cycles = int(np.ceil(STRETCH * cycles))
        self._start, self._slope = self.position.copy(), slope.copy()
        self._cycle, self._cycles = 0, cycles

    def _within_caps(self, t: float) -> bool:
        """The acceleration is largest at an end, the speed at an end or where the acceleration is zero."""
        first, last = 2.0 * self._square, 2.0 * self._square + 6.0 * self._cube * t
        if (np.maximum(np.abs(first), np.abs(last)) > self.acceleration * (1 + 1e-9)).any():
            return False
        with np.errstate(divide="ignore", invalid="ignore"):
            turn = -self._square / (3.0 * self._cube)
        turn = np.where((turn > 0) & (turn < t), turn, 0.0)
        top = self.velocity + 2.0 * self._square * turn + 3.0 * self._cube * turn * turn
        # What the joints already do beyond the cap no new move can undo at once.
        return bool((np.abs(top) <= np.maximum(self.speed, np.abs(self.velocity)) * (1 + 1e-9)).all())

    def brake(self, cycles: int) -> None:
        """To rest at an even deceleration, over `cycles` cycles or more where the caps ask for it."""
        if not self.moving or self._braking:
            return
        needed = float(np.max(np.abs(self.velocity) / self.acceleration)) / self.period
        cycles = max(1, cycles, int(np.ceil(needed)))
        self.move_to(self.position + 0.5 * self.velocity * cycles * self.period, cycles)
        self._braking = True

    def advance(self) -> None:
        """One cycle."""
        if self._cycle >= self._cycles:
            self.velocity[:] = 0.0
            return
        self._cycle += 1
        if self._cycle == self._cycles:
            self.position[:] = self.goal
            self.velocity[:] = 0.0
            return
        t = self._cycle * self.period
        self.position = self._start + t * (self._slope + t * (self._square + t * self._cube))
        self.velocity = self._slope + t * (2.0 * self._square + 3.0 * t * self._cube)


Setpoint = JointSetpoint | SplineSetpoint
