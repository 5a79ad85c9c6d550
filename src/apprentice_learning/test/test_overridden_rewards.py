"""What a person has said in the place of a reward is what training reads (spec 000 section 2.13)."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.data.view import DataSource, View, ViewConfig
from apprentice_store.predictions import Predictions
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

POSE = "tool/pose"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as made:
        yield made


def opened(store: Store, reward: str, **fields) -> tuple[StoreColumns, View]:
    config = ViewConfig(sources=(DataSource(name="all"),), validation=0.0, reward=reward, **fields)
    columns = StoreColumns.open(store, "kind = 'episode'", [POSE], view=config)
    return columns, View(columns, config, seed=0)


def say(store: Store, episode_id: str, task: str, first: int, last: int, value: float) -> None:
    store.catalogue.annotate(episode_id, "reward", task, {"value": value, "first": first, "last": last}, "u1")


def test_a_recorded_reward_is_overridden_for_the_episodes_own_task(store):
    lift, reach = (make_episode(store, steps=5, seed=i, task=t).episode_id for i, t in enumerate(("lift", "reach")))
    plain, before = opened(store, "scripted/sparse", reward_scale=2.0)
    assert len(before.splits["all"].train) == 8, "step 1 of each has no valid reward"
    say(store, lift, "lift", 1, 2, 3.0)
    say(store, reach, "lift", 0, 4, 7.0)
    columns, view = opened(store, "scripted/sparse", reward_scale=2.0)
    start = {e.episode_id: s for e, s in zip(columns.episodes, columns.episode_starts, strict=False)}
    assert view.reward[start[lift] : start[lift] + 5].tolist() == [0.0, 6.0, 6.0, 0.0, 0.0], "before scale and shift, as rewards are"
    assert np.nan_to_num(view.reward[start[reach] : start[reach] + 5], nan=-1).tolist() == [0.0, -1.0, 0.0, 0.0, 0.0]
    assert len(view.splits["all"].train) == 9, "a step that was without is trained on once a person has said its reward"
    assert columns.manifest.hash != plain.manifest.hash and len(columns.manifest.rewards) == 2


def test_a_predicted_reward_is_overridden_for_its_task(store):
    made = [make_episode(store, steps=4, seed=i, task="reach") for i in range(2)]
    predictions = Predictions(store)
    for row in store.episodes():
        predictions.add(row, "lift", "m1", np.full((5, 1), 0.25, np.float32))
    say(store, made[0].episode_id, "lift", 3, 3, 1.0)
    say(store, made[1].episode_id, "reach", 0, 3, 1.0)
    columns, view = opened(store, "model/lift")
    rewards = [view.reward[s : s + 4].tolist() for s in columns.episode_starts[:-1]]
    assert rewards == [[0.25, 0.25, 0.25, 1.0], [0.25] * 4]
    assert np.isnan(view.reward[columns.episode_starts[1] - 1])
    # The kept column of the model is shared by all manifests of these bags, so it must not have taken up what a person said.
    store.catalogue.annotate(made[0].episode_id, "reward", "lift", {"value": None, "first": 0, "last": 3}, "u1")
    _, view = opened(store, "model/lift")
    assert view.reward[:4].tolist() == [0.25] * 4


def test_an_override_does_not_label_the_rest_of_an_episode(store):
    made = [make_episode(store, steps=4, seed=i) for i in range(2)]
    Predictions(store).add(store.episodes()[0], "lift", "m1", np.zeros((5, 1), np.float32))
    say(store, made[1].episode_id, "lift", 0, 1, 1.0)
    with pytest.raises(ApprenticeError, match="no reward predicted"):
        opened(store, "model/lift")
    columns, view = opened(store, "model/lift", unlabelled="leave_out")
    assert columns.unlabelled == (made[1].episode_id,)
    assert len(view.splits["all"].train) == 6, "four that the model scored, and two of which a person said"
