"""Turns the ticks of an episode into transitions for a reward source: each tick is the `next` of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apprentice_core.reward import RewardBatch, RewardResult, RewardSource
from apprentice_core.spaces import Observation
from apprentice_runtime.tick import TickPlan

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Seen:
    step_id: int
    step: int
    observation: Observation
    privileged: Arrays


class RewardTracker:
    """One episode at a time. `tick` gives the rewards of the previous step, or None at the first tick of an episode."""

    def __init__(self, source: RewardSource, actions: int):
        self.source = source
        self._neutral = np.zeros(actions, dtype=np.float32)
        self._episode = ""
        self._first: _Seen | None = None
        self._last: _Seen | None = None
        self._executed: dict[int, np.ndarray] = {}

    def executed(self, step_id: int, action: np.ndarray) -> None:
        """What was carried out at a step (from `applied`); float32 [A]."""
        self._executed[step_id] = action
        while len(self._executed) > 8:
            del self._executed[next(iter(self._executed))]

    def awaits_action(self, plan: TickPlan) -> bool:
        """What was carried out since the last tick of this episode is not known yet; without it the action counts as neutral.

        The arm tells in order: once a later step is known, nothing was carried out for an earlier one that is not.
        """
        goes_on = plan.step > 0 and plan.episode_id == self._episode
        return self._last is not None and goes_on and all(known < self._last.step_id for known in self._executed)

    def tick(
        self, plan: TickPlan, observation: Observation, privileged: Arrays | None
    ) -> tuple[int, dict[str, RewardResult]] | None:
        """(step_id of the transition, rewards, each array [1]); KeyError or ValueError from a source that lacks something."""
        seen = _Seen(plan.step_id, plan.step, observation, privileged or {})
        # In realtime step 0 may go out more than once: the episode begins with the first tick that is answered.
        if plan.step == 0 or plan.episode_id != self._episode or self._first is None:
            self._episode, self._first, self._last = plan.episode_id, seen, seen
            return None
        last, self._last = self._last, seen
        assert last is not None
        action = self._executed.get(last.step_id, self._neutral)
        batch = RewardBatch(
            observation=_one(last.observation), action=action[None], next_observation=_one(observation), step=np.array([last.step]),
            length=np.array([plan.step]), goal=_one(plan.segment.goal), first=_one(self._first.observation),
            privileged=_one(last.privileged), next_privileged=_one(seen.privileged), first_privileged=_one(self._first.privileged),
        )
        return last.step_id, self.source.compute_reward(batch)


def _one(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: array[None] for name, array in arrays.items()}
