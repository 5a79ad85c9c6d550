from __future__ import annotations

import json

import numpy as np
import pytest

from apprentice_core.bundle import read_manifest
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.spaces import cartesian_velocity_gripper
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.runner import PolicyRunner
from apprentice_learning.train import EPISODES, train
from apprentice_store.store import Store
from apprentice_store.testing import make_episode, make_spec


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "bags"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APPRENTICE_STORE", raising=False)
        with Store(folder) as store:
            made = [make_episode(store, steps=5 + i, seed=i, source="random_watcher" if i % 3 == 2 else "expert") for i in range(9)]
        yield folder, made


def test_columns_are_what_was_recorded(bags):
    folder, made = bags
    with Store(folder) as store:
        columns = StoreColumns.open(store, EPISODES, ("camera/front", "tool/pose"))
    assert columns.spec.action_space == make_spec().action_space and not columns.skipped
    by_id = {m.episode_id: m for m in made}
    for info, start in zip(columns.episodes, columns.episode_starts, strict=False):
        episode = by_id[info.episode_id]
        assert info.source == episode.records[0].actor and info.success
        np.testing.assert_array_equal(columns.columns["camera/front"][start + 1], episode.observations[1]["camera/front"])
        np.testing.assert_array_equal(columns.columns["action/executed"][start + 1], episode.records[1].actions["executed"])


def test_steps_without_the_reward_are_left_out(bags, train_config):
    from apprentice_learning.data.view import View

    with Store(bags[0]) as store:
        columns = StoreColumns.open(store, EPISODES, ("tool/pose",))
    view = View(columns, train_config("iql").view, 0)
    for split in view.splits.values():  # make_episode gives no sparse reward at step 1
        assert not np.isin(split.train, columns.episode_starts[:-1] + 1).any()
        assert np.isfinite(view.reward[split.train]).all()


def test_trims_and_hiding_reach_the_view(tmp_path, train_config, monkeypatch):
    """A successful episode whose end was trimmed away still counts as a success, but its last step is no terminal."""
    from apprentice_learning.data.view import View

    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as store:
        made = [make_episode(store, steps=6, seed=s).episode_id for s in range(4)]
        store.trim(made[1], 1, 3)
        store.trim(made[2], 2, 5)
        store.hide(made[3])
        columns = StoreColumns.open(store, EPISODES, ("tool/pose",))
    assert [i.episode_id for i in columns.episodes] == made[:3] and columns.manifest.trims == ((made[1], 1, 3), (made[2], 2, 5))
    assert [(i.success, i.terminated, i.cut) for i in columns.episodes] == [(True, True, False), (True, False, True), (True, True, False)]
    config = train_config("bc").view.model_copy(update={"success_terminal": True, "validation": 0.0})
    config = type(config).model_validate(config.model_dump() | {"sources": [{"name": "good", "outcome": "success"}]})
    view = View(columns, config, 0)
    assert view.splits["good"].train.tolist() == [*range(6), 7, 8, 9, 11, 12, 13, 14]
    assert view.discount[[5, 9, 14]].tolist() == [0, 1, 0]


@pytest.mark.parametrize("algorithm", ["bc", "iql", "d4pg"])
def test_from_bags_to_an_acting_bundle(algorithm, bags, train_config, tmp_path):
    folder, made = bags
    told = []
    result = train(train_config(algorithm), folder, tmp_path / "out", progress=lambda step, steps, metrics: told.append(step))
    assert told == list(range(1, 7)) and not result.stopped
    manifest = read_manifest(result.bundle)
    assert manifest.action_space_hash == make_spec().action_space.hash and manifest.lineage["episodes"] == 9
    assert len(manifest.lineage["manifest"]) == 64
    assert {a.name for a in manifest.observation} == {"camera/front", "tool/pose"}
    runner = PolicyRunner(result.bundle, cartesian_velocity_gripper())
    runner.check(make_spec().observation)
    runner.reset(EpisodeContext("x", "lift"))
    answer = runner.act(made[0].observations[0], Segment())
    assert answer.values.shape == (7,) and np.abs(answer.values).max() <= 1 and runner.bundle_id == result.bundle_id
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6 and "validation/action_error" in lines[-1]
    assert list((tmp_path / "out" / "tensorboard").glob("events*"))
    again = train(train_config(algorithm), folder, tmp_path / "again")
    assert read_manifest(again.bundle).weights_hash == manifest.weights_hash


def test_wrong_wishes_are_answered_clearly(bags, train_config, tmp_path):
    folder, _ = bags
    with pytest.raises(ApprenticeError, match="no episode fulfils"):
        train(train_config("bc"), folder, tmp_path / "a", where="task = 'fold'")
    wrong = train_config("iql").model_dump()
    wrong["view"]["reward"] = "human/sketch"
    with pytest.raises(ConfigError, match=r"no 'reward/human/sketch'; known: .*reward/scripted/sparse"):
        train(train_config("iql", view=wrong["view"]), folder, tmp_path / "b")
