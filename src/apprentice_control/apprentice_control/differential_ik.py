"""Damped least-squares differential inverse kinematics with joint limits, null-space posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from apprentice_control.kinematics import Kinematics
from apprentice_control.slices import Slices, finish


@dataclass(frozen=True)
class IkResult:
    """`q` [n] rad; what of the target is left, m and rad; whether joints stand at a position limit."""

    q: np.ndarray
    position_error: float
    rotation_error: float
    at_limit: bool


def velocity_scale(velocity: np.ndarray, limit: np.ndarray) -> float:
    """The factor in (0, 1] that brings `velocity` within `limit` component by component and keeps its direction."""
    ratio = float(np.max(np.abs(velocity) / limit))
    return 1.0 if ratio <= 1.0 else 1.0 / ratio


class DifferentialIK:
    """Joint target of a nearby tool pose: a few Gauss-Newton steps of dq = J^T (J J^T + damping^2 I)^-1 e.

    A joint that the step would push through its limit is taken out and the rest solves again, so that the arm slides along
    a limit. Redundant joints drift to `posture` at `posture_rate` (1/s) without moving the tool. Defaults are ours.
    """

    def __init__(
        self,
        kinematics: Kinematics,
        lower: np.ndarray,
        upper: np.ndarray,
        posture: np.ndarray,
        damping: float = 0.01,
        posture_rate: float = 0.5,
        iterations: int = 6,
        tolerance: float = 1e-5,
    ):
        self.kinematics = kinematics
        self.lower, self.upper, self.posture = lower, upper, posture
        self._regular = damping**2 * np.eye(6)
        self.posture_rate, self.iterations, self.tolerance = posture_rate, iterations, tolerance

    def _error(self, q: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        pose = self.kinematics.forward(q)
        return np.concatenate([position - pose.position, pin.log3(rotation @ pose.rotation.T)])

    def _step(self, q: np.ndarray, jacobian: np.ndarray, error: np.ndarray, drift: np.ndarray | None) -> np.ndarray:
        """One step within the position limits; blocked joints are taken out one set at a time."""
        j, free = jacobian, None
        while True:
            wanted = np.zeros_like(q) if drift is None else drift if free is None else drift * free
            # J^T A (e - J w) + w is the damped solution for e plus what of w the tool does not feel.
            step = j.T @ np.linalg.solve(j @ j.T + self._regular, error - j @ wanted) + wanted
            after = q + step
            blocked = (after > self.upper) | (after < self.lower)
            if not blocked.any():
                return step
            if free is not None:
                blocked &= free
            clipped = np.minimum(np.maximum(after, self.lower), self.upper) - q
            # A joint on its way to the limit still uses what room it has.
            if not blocked.any() or np.abs(clipped[blocked]).max() > 1e-9:
                return clipped
            free = ~blocked if free is None else free & ~blocked
            if not free.any():
                return np.zeros_like(q)
            j = jacobian * free

    def solve(self, q: np.ndarray, position: np.ndarray, rotation: np.ndarray, dt: float) -> IkResult:
        """Joint target [n] within the position limits for `position` [3] and `rotation` [3, 3], searched from `q`; `dt`: s it has."""
        return finish(self.slices(q, position, rotation, dt))

    def slices(self, q: np.ndarray, position: np.ndarray, rotation: np.ndarray, dt: float) -> Slices[IkResult]:
        """`solve` that may pause after each iteration."""
        solution = np.minimum(np.maximum(q, self.lower), self.upper)
        error = self._error(solution, position, rotation)
        drift: np.ndarray | None = self.posture_rate * dt * (self.posture - solution)
        for _ in range(self.iterations):
            solution = solution + self._step(solution, self.kinematics.jacobian(solution), error, drift)
            drift = None
            error = self._error(solution, position, rotation)
            if float(np.max(np.abs(error))) < self.tolerance:
                break
            yield
        at_limit = bool(((solution <= self.lower) | (solution >= self.upper)).any())
        return IkResult(solution, float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:])), at_limit)
