"""The joint set point between two policy answers: straight in joint space, one increment a cycle, no allocation."""

from __future__ import annotations

import numpy as np


class JointSetpoint:
    """`position` and `velocity` [n] (rad, rad/s) of this cycle and the `goal` [n] of the move under way."""

    def __init__(self, n: int, period: float):
        self.period = period
        self.position, self.velocity, self.goal = np.zeros(n), np.zeros(n), np.zeros(n)
        self._step, self._brake = np.zeros(n), np.zeros(n)
        self._left = 0
        self._braking = self._moving = False

    @property
    def moving(self) -> bool:
        return self._left > 0

    def seed(self, q: np.ndarray) -> None:
        """Stands at `q` from now on."""
        self.position[:] = q
        self.goal[:] = q
        self.velocity[:] = 0.0
        self._left, self._moving = 0, False

    def move_to(self, goal: np.ndarray, cycles: int) -> None:
        """Reaches `goal` after `cycles` cycles at constant speed, from where the set point is now."""
        self.goal[:] = goal
        np.subtract(goal, self.position, out=self._step)
        self._step /= cycles
        np.divide(self._step, self.period, out=self.velocity)
        self._left, self._braking, self._moving = cycles, False, True

    def brake(self, cycles: int) -> None:
        """Ramps the speed down to zero over at most `cycles` cycles, on the line to the goal and never beyond it."""
        if self._left == 0 or self._braking:
            return
        self._left = min(cycles, 2 * self._left)
        np.divide(self._step, self._left, out=self._brake)
        np.multiply(self._step, 0.5 * self._left, out=self.goal)
        self.goal += self.position
        self._step -= 0.5 * self._brake
        self._braking = True

    def advance(self) -> None:
        """One cycle."""
        if self._left == 0:
            if self._moving:
                self.velocity[:] = 0.0
                self._moving = False
            return
        self._left -= 1
        if self._left == 0:
            self.position[:] = self.goal
        else:
            np.add(self.position, self._step, out=self.position)
        if self._braking:
            np.divide(self._step, self.period, out=self.velocity)
            self._step -= self._brake
