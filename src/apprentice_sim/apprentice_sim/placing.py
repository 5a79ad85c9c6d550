"""Joint positions for a tool position, orientation as at home or turned from it: where an episode with a held object starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apprentice_control.differential_ik import DifferentialIK
from apprentice_control.kinematics import Kinematics
from apprentice_core.config import RobotProfile
from apprentice_core.errors import ApprenticeError
from apprentice_core.rotations import matrix_from_rotation_vector, rotation_vector

STEPS, STEP = 60, 0.02
"""tries, and m that the tool may go in each (ours)"""


class ToolPlacing:
    """Answers are kept: the same position always gives the same joints, bit for bit."""

    def __init__(self, profile: RobotProfile, kinematics: Kinematics):
        self._home = np.array(profile.home)
        self.kinematics = kinematics
        self._ik = DifferentialIK(kinematics, kinematics.lower, kinematics.upper, self._home, tolerance=1e-9)
        self._known: dict[tuple[float, ...], np.ndarray] = {}

    def start(self, joints: Sequence[float] | np.ndarray) -> dict[str, list[float]]:
        """What an episode's metadata calls the `start` with the arm at these joints."""
        pose, home = self.kinematics.forward(np.array(joints)), self.kinematics.forward(self._home)
        return {"tool": pose.position.tolist(), "turn": rotation_vector(pose.rotation @ home.rotation.T).tolist()}

    def joints(self, pose: Sequence[float] | np.ndarray) -> np.ndarray:
        """float64 [n] for a position [3] m, the tool as at home, or a pose [6], turned from there by a rotation vector in base axes.

        ApprenticeError when the arm does not reach it.
        """
        key = tuple(round(float(v), 9) for v in pose)
        if key in self._known:
            return self._known[key]
        home = self.kinematics.forward(self._home)
        q, at = self._home, home.position.copy()
        goal, orientation = np.array(key[:3]), home.rotation
        if len(key) == 6:
            orientation = matrix_from_rotation_vector(np.array(key[3:])) @ orientation
        for _ in range(STEPS):
            way = goal - at
            at = at + way * min(1.0, STEP / max(float(np.linalg.norm(way)), 1e-12))
            result = self._ik.solve(q, at, orientation, 0.0)
            q = result.q
            if np.array_equal(at, goal) and result.position_error < 1e-7 and result.rotation_error < 1e-6:
                break
        else:
            raise ApprenticeError(f"the tool does not reach ({', '.join(f'{v:.3f}' for v in key[:3])})")
        self._known[key] = q
        return q
