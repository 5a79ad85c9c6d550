"""Pull a cloth up off the basket's floor and hold it (lift_cloth of spec 000)."""

from __future__ import annotations

import numpy as np

from apprentice_core.tasks.task import Task, TaskState, nearness, pose, speed

TOP = "top"
"""the cloth's highest point, tracked beside its centre as <target>/top"""


class ClothTask(Task):
    """Success: the cloth's highest point has risen by more than `rise` (m) since the episode began and its centre by more than
    `centre_rise` (m), while the centre is slower than `speed` (m/s): it hangs from the fingers, it was not flung and no corner merely
    plucked.

    All bounds are ours; the paper's operators judged by eye.
    """

    success_defaults = {"rise": 0.08, "centre_rise": 0.035, "speed": 0.06}

    @property
    def top(self) -> str:
        return f"{self.config.target}/{TOP}"

    @property
    def objects(self) -> tuple[str, ...]:
        return (self.config.target, self.top)

    def rises(self, state: TaskState) -> tuple[np.ndarray, np.ndarray]:
        """Metres that the highest point and the centre are above where they were at the start, [N] each."""
        top, centre = (pose(state.privileged, n)[:, 2] - pose(state.first, n)[:, 2] for n in (self.top, self.config.target))
        return top, centre

    def success(self, state: TaskState) -> np.ndarray:
        top, centre = self.rises(state)
        slow = speed(state.privileged, self.config.target) < self.limits["speed"]
        return (top > self.limits["rise"]) & (centre > self.limits["centre_rise"]) & slow

    def shaped(self, state: TaskState) -> np.ndarray:
        """0.4 for reaching the cloth's highest point (scale 10 cm), up to 0.25 more for the rise of that point and as much for the
        centre's, 1 on success (ours)."""
        tool = np.asarray(state.observation["tool/pose"], dtype=np.float64)[:, :3]
        reach = nearness(np.linalg.norm(tool - pose(state.privileged, self.top)[:, :3], axis=1), 0.1)
        top, centre = self.rises(state)
        up = np.clip(top / self.limits["rise"], 0.0, 1.0) + np.clip(centre / self.limits["centre_rise"], 0.0, 1.0)
        return np.where(self.success(state), 1.0, 0.4 * reach + 0.25 * up)
