"""The task's own functions as a reward source (contract 4)."""

from __future__ import annotations

import numpy as np

from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.tasks.task import Task, TaskState


class ScriptedReward:
    """Gives `sparse`, `shaped` and the task's own terms of the state after each transition. None is terminal: an episode that is to end
    on success says so."""

    name = "scripted"
    needs_privileged = True

    def __init__(self, task: Task):
        self.task = task
        self.model_id = f"scripted/{task.config.name}/1"

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """KeyError naming the array when the batch lacks a privileged pose or the tool's pose."""
        state = TaskState(batch.next_observation, batch.next_privileged, batch.first_privileged)
        success = self.task.success(state)
        n = len(success)
        no, yes, unknown = np.zeros(n, dtype=bool), np.ones(n, dtype=bool), np.full(n, np.nan)
        values = {"sparse": self.task.sparse(state), "shaped": self.task.shaped(state), **self.task.terms(state)}
        return {name: RewardResult(value.astype(np.float32), unknown, yes, no, success) for name, value in values.items()}
