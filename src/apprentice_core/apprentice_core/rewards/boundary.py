"""The edge of the allowed workspace as the end of an episode (spec 000 section 2.14, checklist line 84)."""

from __future__ import annotations

import numpy as np

from apprentice_core.config import Limits
from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.rotations import quaternion_to_matrix, rotation_vector
from apprentice_core.streams import TOOL_POSE

NEAR, NEAR_ANGLE = 0.002, 0.01
"""m and rad before the limit that count as reaching it (ours): the safety chain stops the tool just short of the limit itself"""


class BoundaryReward:
    """Gives `reached`: 1 where the tool after the action is at or beyond the effective workspace or rotation limit, and terminal there, so
    that the discount is 0. `home` [3, 3] is the orientation from which the rotation limit counts."""

    name = "boundary"
    model_id = "boundary/1"
    needs_privileged = False
    inputs = (TOOL_POSE,)

    def __init__(self, limits: Limits, home: np.ndarray):
        """ValueError where the limits name no workspace or no rotation."""
        if limits.workspace is None or limits.rotation is None:
            raise ValueError("limits.workspace and limits.rotation say where the boundary is")
        self.low, self.high = np.array(limits.workspace.low) + NEAR, np.array(limits.workspace.high) - NEAR
        self.turn, self.home = np.array(limits.rotation) - NEAR_ANGLE, home

    def reached(self, pose: np.ndarray) -> bool:
        """Whether a tool pose [7] is at the boundary."""
        position = pose[:3].astype(np.float64)
        if (position <= self.low).any() or (position >= self.high).any():
            return True
        turn = rotation_vector(quaternion_to_matrix(pose[3:].astype(np.float64)) @ self.home.T)
        return bool((np.abs(turn) >= self.turn).any())

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        reached = np.array([self.reached(pose) for pose in batch.next_observation[TOOL_POSE]], dtype=bool)
        n = len(reached)
        no = np.zeros(n, dtype=bool)
        return {"reached": RewardResult(reached.astype(np.float32), np.full(n, np.nan), ~no, reached, no)}
