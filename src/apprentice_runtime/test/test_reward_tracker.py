from __future__ import annotations

import numpy as np

from apprentice_core.episode import Segment
from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_runtime.reward_tracker import RewardTracker
from apprentice_runtime.tick import TickPlan


class Distance:
    """Reward: how far x came; it keeps the batches that it was asked for."""

    name, model_id, needs_privileged = "distance", "", False

    def __init__(self):
        self.batches: list[RewardBatch] = []

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        self.batches.append(batch)
        value = (batch.next_observation["x"] - batch.observation["x"])[:, 0]
        no = np.zeros(1, bool)
        return {"distance": RewardResult(value, np.full(1, np.nan), ~no, no, no)}


def plan(step: int, episode: str = "e") -> TickPlan:
    return TickPlan(1000 + step, 0, episode, 10 + step, step, False, ("policy",), ("distance",), Segment(), (), ())


def x(value: float) -> dict[str, np.ndarray]:
    return {"x": np.array([value], np.float32)}


def test_reward_of_a_step_stands_between_its_two_observations() -> None:
    source = Distance()
    tracker = RewardTracker(source, 2)
    assert tracker.tick(plan(0), x(1.0), None) is None
    tracker.executed(10, np.array([0.5, -0.5], np.float32))
    step_id, rewards = tracker.tick(plan(1), x(3.0), None)
    assert step_id == 10 and rewards["distance"].value[0] == 2.0
    np.testing.assert_array_equal(source.batches[0].action, [[0.5, -0.5]])
    assert source.batches[0].first["x"][0, 0] == 1.0


def test_waits_for_what_was_carried_out() -> None:
    tracker = RewardTracker(Distance(), 2)
    assert not tracker.awaits_action(plan(0)), "before the first tick nothing was"
    tracker.tick(plan(0), x(0.0), None)
    assert tracker.awaits_action(plan(1))
    tracker.executed(10, np.zeros(2, np.float32))
    assert not tracker.awaits_action(plan(1))
    assert not tracker.awaits_action(plan(0, "another")), "what another episode did is not asked for"


def test_next_episode_starts_anew() -> None:
    source = Distance()
    tracker = RewardTracker(source, 2)
    tracker.tick(plan(0), x(0.0), None)
    assert tracker.tick(plan(0, "another"), x(5.0), None) is None
    tracker.tick(plan(1, "another"), x(6.0), None)
    assert source.batches[0].first["x"][0, 0] == 5.0


def test_an_episode_whose_first_tick_went_out_again_begins_with_the_last_of_them() -> None:
    source = Distance()
    tracker = RewardTracker(source, 2)
    tracker.tick(plan(0), x(1.0), None)
    assert not tracker.awaits_action(plan(0)) and tracker.tick(plan(0), x(4.0), None) is None
    tracker.executed(10, np.zeros(2, np.float32))
    _, rewards = tracker.tick(plan(1), x(5.0), None)
    assert rewards["distance"].value[0] == 1.0 and source.batches[0].first["x"][0, 0] == 4.0
