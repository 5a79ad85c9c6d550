"""Put the object into the container of the tray."""

from __future__ import annotations

import numpy as np

from apprentice_core.tasks.task import Task, TaskState, nearness, pose, speed


class PickPlaceTask(Task):
    """Success: the target's centre is inside the container's walls and below its rim, it is slow, and the tool has let go of it.

    `x`, `y`, `half_width`, `rim`: the container, base frame, m; `clear`: distance tool to object that counts as let go, m (ours).
    """

    success_defaults = {"x": 0.30, "y": -0.085, "half_width": 0.055, "rim": 0.05, "speed": 0.05, "clear": 0.035}

    def _offset(self, state: TaskState) -> np.ndarray:
        return pose(state.privileged, self.config.target)[:, :2] - (self.limits["x"], self.limits["y"])

    def _tool_distance(self, state: TaskState) -> np.ndarray:
        tool = np.asarray(state.observation["tool/pose"], dtype=np.float64)[:, :3]
        return np.linalg.norm(tool - pose(state.privileged, self.config.target)[:, :3], axis=1)

    def inside(self, state: TaskState) -> np.ndarray:
        height = pose(state.privileged, self.config.target)[:, 2]
        return (np.abs(self._offset(state)).max(axis=1) < self.limits["half_width"]) & (height < self.limits["rim"])

    def success(self, state: TaskState) -> np.ndarray:
        slow = speed(state.privileged, self.config.target) < self.limits["speed"]
        return self.inside(state) & slow & (self._tool_distance(state) > self.limits["clear"])

    def shaped(self, state: TaskState) -> np.ndarray:
        """0.3 for reaching (scale 10 cm), 0.2 for 5 cm of rise, 0.4 for nearness to the container (scale 10 cm), 1 on success (ours)."""
        target = self.config.target
        rise = np.clip((pose(state.privileged, target)[:, 2] - pose(state.first, target)[:, 2]) / 0.05, 0.0, 1.0)
        carried = np.maximum(rise, self.inside(state))
        place = nearness(np.linalg.norm(self._offset(state), axis=1), 0.1)
        value = 0.3 * nearness(self._tool_distance(state), 0.1) + 0.2 * carried + 0.4 * carried * place
        return np.where(self.success(state), 1.0, value)
