"""Sketches as a training set, and predicted rewards as files that the catalogue names."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store.predictions import Predictions
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.sketches import fault_of, sketches
from apprentice_store.store import Store
from apprentice_store.testing import make_episode


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as opened:
        yield opened


def test_of_each_annotator_the_newest_curve_counts_at_a_revision(store):
    one, two = (make_episode(store, steps=3, seed=s).episode_id for s in range(2))
    add = store.catalogue.add_reward_sequence
    add(one, "lift", np.zeros(4), "ann")
    then = add(one, "lift", np.full(4, 0.5), "bob")
    add(one, "lift", np.ones(4), "ann")
    add(two, "stack", np.ones(4), "ann")
    add(two, "lift", np.ones(4), "model", kind="PREDICTED")
    before, now = sketches(store.catalogue, "lift", then), sketches(store.catalogue, "lift")
    assert [(s.user, s.values[0]) for s in before.sketches] == [("ann", 0.0), ("bob", 0.5)]
    assert [(s.user, s.values[0]) for s in now.sketches] == [("ann", 1.0), ("bob", 0.5)]
    assert before.revision == then and now.episode_ids == (one,)
    assert len({s.sequence_id for s in (*before.sketches, *now.sketches)}) == 3


@pytest.mark.parametrize(("values", "fault"), [
    ([0.0, 0.5, 1.0, 1.0], ""), ([0.0, 0.5, 1.0], "3 values for 4 frames"), ([0.0, np.nan, 1.0, 1.0], "frame 1: nan"),
    ([0.0, 0.5, 1.01, 1.0], "frame 2: 1.0"), ([0.0, 0.5, 1.0, -0.01], "frame 3: -0.0"),
])
def test_a_curve_that_cannot_be_learned_from_is_refused_with_its_reason(store, values, fault):
    episode = make_episode(store, steps=3).episode_id
    store.catalogue.add_reward_sequence(episode, "lift", np.array(values), "ann")
    found = sketches(store.catalogue, "lift")
    assert fault_of(np.array(values, np.float32), 4).startswith(fault) and len(found.sketches) == (not fault)
    assert all(fault in reason and episode in reason for reason in found.refused.values()) and len(found.refused) == bool(fault)


def test_predictions_are_whole_or_absent(store):
    made = make_episode(store, steps=3)
    row, known = store.catalogue.get(made.episode_id), Predictions(store)
    for wrong in (np.zeros((3, 1)), np.zeros(4), np.zeros((4, 0)), np.full((4, 1), np.nan), np.full((4, 1), 1.5)):
        with pytest.raises(ApprenticeError):
            known.add(row, "lift", "m", wrong)
    for task, model in (("../lift", "m"), ("lift", "a/b"), ("lift", "")):
        with pytest.raises(ApprenticeError, match="cannot name a file"):
            known.add(row, task, model, np.zeros((4, 1)))
    assert known.models("lift") == [] and not list(store.folder.rglob("predicted/**/*.npy"))
    values = np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2)
    revision = known.add(row, "lift", "m", values)
    said = known.of("lift", "m")[made.episode_id]
    assert said.revision == revision == store.catalogue.revision and said.bag == row.hash
    np.testing.assert_array_equal(known.read(said), values)
    assert known.missing([row], "lift", "m") == [] and known.missing([row], "lift", "other") == [row]


def test_columns_never_mix_models_and_end_with_the_episode(store):
    made = [make_episode(store, steps=3 + i, seed=i) for i in range(2)]
    known = Predictions(store)
    for model, value in (("a", 0.25), ("b", 0.75)):
        for m in made[: 1 if model == "b" else 2]:
            known.add(store.catalogue.get(m.episode_id), "lift", model, np.full((len(m.records) + 1, 2), value))
    cache = ReplayCache.build(store, store.manifest(), names=("tool/pose",))
    column, model, missing = known.column(cache, "lift")
    assert model == "b" and missing == (made[1].episode_id,)
    np.testing.assert_array_equal(column, [0.75] * 3 + [np.nan] * 6)
    column, model, missing = known.column(cache, "lift", "a")
    assert model == "a" and missing == ()
    np.testing.assert_array_equal(column, [0.25] * 3 + [np.nan] + [0.25] * 4 + [np.nan])
    assert cache.derived("reward/model/lift", "a") is not None and cache.derived("reward/model/lift", "b") is None
