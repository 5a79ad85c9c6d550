"""Lift a block off the basket's floor and hold it (lift_green of spec 000)."""

from __future__ import annotations

import numpy as np

from apprentice_core.tasks.task import Task, TaskState, nearness, pose, speed


class LiftTask(Task):
    """Success: the target's centre has risen by more than `rise` since the episode began, while it moves slower than `speed`.

    The rise of the centre stands for the height of the lowest point above the floor: both start from rest on the floor, and a
    block in a parallel gripper keeps its attitude. Both bounds are ours; the paper's operators judged by eye.
    """

    success_defaults = {"rise": 0.05, "speed": 0.06}

    def rise(self, state: TaskState) -> np.ndarray:
        """Metres above where the target stood at the start, [N]."""
        target = self.config.target
        return pose(state.privileged, target)[:, 2] - pose(state.first, target)[:, 2]

    def success(self, state: TaskState) -> np.ndarray:
        return (self.rise(state) > self.limits["rise"]) & (speed(state.privileged, self.config.target) < self.limits["speed"])

    def shaped(self, state: TaskState) -> np.ndarray:
        """0.4 for reaching (scale 10 cm), up to 0.5 more for the rise, 1 on success (ours)."""
        tool = np.asarray(state.observation["tool/pose"], dtype=np.float64)[:, :3]
        reach = nearness(np.linalg.norm(tool - pose(state.privileged, self.config.target)[:, :3], axis=1), 0.1)
        lifted = np.clip(self.rise(state) / self.limits["rise"], 0.0, 1.0)
        return np.where(self.success(state), 1.0, 0.4 * reach + 0.5 * lifted)
