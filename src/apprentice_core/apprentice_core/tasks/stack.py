"""Put one block onto another and let go of it (stack_green_on_red of spec 000)."""

from __future__ import annotations

import numpy as np

from apprentice_core.tasks.task import Task, TaskState, nearness, pose, speed

BASE = "red"
"""name of the block below"""


class StackTask(Task):
    """Success: the target's centre is over the base's within `aside` (m) and `above` to `below` (m) higher, it is slower than `speed`, the
    base has not been carried off the floor (`base_rise`, m), and the tool's distance to the target is more than `clear` (m).

    All bounds are ours; the paper's operators judged by eye.
    """

    success_defaults = {"aside": 0.025, "above": 0.026, "below": 0.06, "speed": 0.03, "base_rise": 0.012, "clear": 0.045}

    @property
    def objects(self) -> tuple[str, ...]:
        return (self.config.target, BASE)

    def _offset(self, state: TaskState) -> np.ndarray:
        return pose(state.privileged, self.config.target)[:, :3] - pose(state.privileged, BASE)[:, :3]

    def _tool_distance(self, state: TaskState) -> np.ndarray:
        tool = np.asarray(state.observation["tool/pose"], dtype=np.float64)[:, :3]
        return np.linalg.norm(tool - pose(state.privileged, self.config.target)[:, :3], axis=1)

    def stacked(self, state: TaskState) -> np.ndarray:
        """Whether the target lies or is held where it belongs, bool [N]."""
        offset = self._offset(state)
        risen = pose(state.privileged, BASE)[:, 2] - pose(state.first, BASE)[:, 2]
        over = np.linalg.norm(offset[:, :2], axis=1) < self.limits["aside"]
        on = (offset[:, 2] > self.limits["above"]) & (offset[:, 2] < self.limits["below"])
        return over & on & (risen < self.limits["base_rise"])

    def success(self, state: TaskState) -> np.ndarray:
        slow = speed(state.privileged, self.config.target) < self.limits["speed"]
        return self.stacked(state) & slow & (self._tool_distance(state) > self.limits["clear"])

    def shaped(self, state: TaskState) -> np.ndarray:
        """0.25 for reaching (scale 10 cm), 0.25 for 4 cm of rise, 0.25 for nearness to the base's axis while up (scale 10 cm), 0.1 more
        where it belongs but is still held, 1 on success (ours)."""
        target = self.config.target
        rise = np.clip((pose(state.privileged, target)[:, 2] - pose(state.first, target)[:, 2]) / 0.04, 0.0, 1.0)
        over = nearness(np.linalg.norm(self._offset(state)[:, :2], axis=1), 0.1)
        stacked = self.stacked(state)
        # What stands on the base has arrived, whether or not the tool is still beside it.
        reach = np.maximum(nearness(self._tool_distance(state), 0.1), stacked)
        value = 0.25 * reach + 0.25 * rise + 0.25 * rise * over + 0.1 * stacked
        return np.where(self.success(state), 1.0, value)
