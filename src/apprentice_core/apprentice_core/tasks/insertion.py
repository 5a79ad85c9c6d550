"""Push a plug fully into its socket (spec 001c section 3)."""

from __future__ import annotations

import numpy as np

from apprentice_core.tasks.task import Task, TaskState, nearness, pose

SOCKET = "socket"


class InsertionTask(Task):
    """Success by distance: the plug's tip is within `aside` (m) of the socket's axis and less than `height` (m) above its floor.

    `height`: 2 mm in z is spec 001c section 8's; `aside` is ours. The electrical signal is another detector (checklist B24).
    """

    success_defaults = {"aside": 0.002, "height": 0.002}

    @property
    def objects(self) -> tuple[str, ...]:
        return (self.config.target, SOCKET)

    def error(self, state: TaskState) -> np.ndarray:
        """Tip minus socket, base frame, m, [N, 3]: z is the way still to go."""
        return pose(state.privileged, self.config.target)[:, :3] - pose(state.privileged, SOCKET)[:, :3]

    def success(self, state: TaskState) -> np.ndarray:
        error = self.error(state)
        return (np.linalg.norm(error[:, :2], axis=1) < self.limits["aside"]) & (error[:, 2] < self.limits["height"])

    def shaped(self, state: TaskState) -> np.ndarray:
        """0.9 of nearness to the place (scale 3 cm), 1 on success (ours)."""
        return np.where(self.success(state), 1.0, 0.9 * nearness(np.linalg.norm(self.error(state), axis=1), 0.03))
