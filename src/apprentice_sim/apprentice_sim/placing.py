"""Joint positions for a tool position, orientation as at home: where an episode with a held object starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apprentice_control.differential_ik import DifferentialIK
from apprentice_control.kinematics import Kinematics
from apprentice_core.config import RobotProfile
from apprentice_core.errors import ApprenticeError

STEPS, STEP = 60, 0.02
"""tries, and m that the tool may go in each (ours)"""


class ToolPlacing:
    """Answers are kept: the same position always gives the same joints, bit for bit."""

    def __init__(self, profile: RobotProfile, kinematics: Kinematics):
        self._home = np.array(profile.home)
        self.kinematics = kinematics
        self._ik = DifferentialIK(kinematics, kinematics.lower, kinematics.upper, self._home, tolerance=1e-9)
        self._known: dict[tuple[float, ...], np.ndarray] = {}

    def joints(self, position: Sequence[float] | np.ndarray) -> np.ndarray:
        """float64 [n]; ApprenticeError when the arm does not reach `position` [3] m with the tool as at home."""
        key = tuple(round(float(v), 9) for v in position)
        if key in self._known:
            return self._known[key]
        home = self.kinematics.forward(self._home)
        q, at = self._home, home.position.copy()
        goal = np.array(key)
        for _ in range(STEPS):
            way = goal - at
            at = at + way * min(1.0, STEP / max(float(np.linalg.norm(way)), 1e-12))
            result = self._ik.solve(q, at, home.rotation, 0.0)
            q = result.q
            if np.array_equal(at, goal) and result.position_error < 1e-7 and result.rotation_error < 1e-6:
                break
        else:
            raise ApprenticeError(f"the tool does not reach ({', '.join(f'{v:.3f}' for v in key)})")
        self._known[key] = q
        return q
