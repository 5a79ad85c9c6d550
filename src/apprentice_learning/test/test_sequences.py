"""Sequences from a view: where they begin and end, how many of which source, frames through the box filter, tracked poses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.images import box_reduce
from apprentice_learning.data.columns import ArrayColumns, reduced_name
from apprentice_learning.data.sequences import SequenceSampler
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.data.view import View, ViewConfig
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

CAMERA = "camera/front"
MIX = [{"name": "all", "ratio": 0.75}, {"name": "task", "tasks": ["reach"], "ratio": 0.25}]


def view(columns, **fields) -> View:
    return View(columns, ViewConfig.model_validate({"sources": MIX, "validation": 0.2, "reward": "scripted/sparse"} | fields), seed=0)


def test_sequences_stay_in_their_episode_and_mask_what_is_behind_it(columns):
    sampler = SequenceSampler(view(columns), ("tool/pose",), 32, 0, length=6)
    ended = 0
    for _ in range(10):
        rows = sampler.sample_rows()
        batch = sampler.batch(rows, augment=False)
        assert batch.observation["tool/pose"].shape[:2] == (6, 32) and batch.action.shape[:2] == (5, 32) and len(batch) == 32
        episode = np.searchsorted(columns.episode_starts, rows, side="right") - 1
        last = columns.episode_starts[episode + 1] - 1  # the observation after the last action
        for b, (row, end) in enumerate(zip(rows, last, strict=True)):
            for t in range(5):
                assert batch.valid[t, b] == (row + t < end)
                seen = columns.columns["tool/pose"][min(row + t, end)]
                np.testing.assert_array_equal(batch.observation["tool/pose"][t, b], seen)
                if row + t < end:
                    np.testing.assert_array_equal(batch.action[t, b], columns.columns["action/executed"][row + t])
                    assert batch.reward[t, b] == columns.columns["reward/scripted/sparse"][row + t]
                    assert batch.discount[t, b] == columns.columns["discount"][row + t]
                else:
                    assert batch.reward[t, b] == 0
            ended += row + 5 > end
        assert batch.valid[0].all()
    assert ended


def test_a_step_without_a_reward_is_not_valid(columns):
    loose = dict(columns.columns)
    loose["reward/scripted/sparse"] = loose["reward/scripted/sparse"].copy()
    loose["reward/scripted/sparse"][3] = np.nan
    sampler = SequenceSampler(view(ArrayColumns(loose, columns.episode_starts, columns.episodes)), ("tool/pose",), 4, 0, length=6)
    batch = sampler.batch(np.array([1, 2]), augment=False)
    assert batch.valid[:, 0].tolist() == [True, True, False, True, True] and batch.valid[:, 1].tolist() == [True, False, True, True, True]
    assert torch.isfinite(batch.reward).all()


@pytest.mark.parametrize(("size", "ratio", "counts"), [(64, 0.75, (48, 16)), (16, 0.75, (12, 4)), (20, 0.5, (10, 10))])
def test_every_batch_holds_the_exact_counts(columns, size, ratio, counts):
    shares = (("random_watcher", ratio), ("expert", 1 - ratio))
    sources = [{"name": name, "drivers": [name], "ratio": share} for name, share in shares]
    sampler = SequenceSampler(view(columns, sources=sources), ("tool/pose",), size, 0, length=4)
    for _ in range(20):
        drivers = [columns.episodes[i].source for i in np.searchsorted(columns.episode_starts, sampler.sample_rows(), side="right") - 1]
        assert (drivers.count("random_watcher"), drivers.count("expert")) == counts


def test_switches_task_only_and_without_random_watcher(columns):
    def drivers(**fields) -> set[str]:
        rows = np.concatenate([np.concatenate((s.train, s.validation)) for s in view(columns, **fields).splits.values()])
        return {columns.episodes[i].source for i in np.searchsorted(columns.episode_starts, rows, side="right") - 1}

    assert drivers() == {"expert", "random_watcher"}
    assert drivers(without_drivers=["random_watcher"]) == {"expert"}
    infos = [e if e.source == "expert" else type(e)(e.episode_id, e.source, "other", e.success, e.terminated) for e in columns.episodes]
    mixed = ArrayColumns(columns.columns, columns.episode_starts, infos)
    both, only = view(mixed), view(mixed, task="reach")
    assert len(both.splits["all"].train) > len(only.splits["all"].train)
    assert len(both.splits["task"].train) == len(only.splits["task"].train)
    with pytest.raises(ConfigError, match=r"sources\.task.*reach"):
        view(mixed, without_drivers=["expert"])


def test_frames_of_a_sequence_are_shifted_alike(columns):
    sampler = SequenceSampler(view(columns), (CAMERA,), 4, 0, length=4, shift=2)
    rows = sampler.sample_rows()
    plain = sampler.batch(rows, augment=False).observation[CAMERA].numpy().copy()
    moved = sampler.batch(rows, augment=True).observation[CAMERA].numpy()
    for b in range(4):
        padded = np.pad(plain[:, b], ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        assert any(np.array_equal(moved[:, b], padded[:, y : y + 16, x : x + 24]) for y in range(5) for x in range(5))


def test_state_resumes_the_draw(columns):
    one = SequenceSampler(view(columns), (CAMERA, "tool/pose"), 6, 0, length=5, shift=1)
    one.sample()
    state = json.loads(json.dumps(one.state))
    expected = one.sample()
    other = SequenceSampler(view(columns), (CAMERA, "tool/pose"), 6, 9, length=5, shift=1)
    other.state = state
    got = other.sample()
    assert torch.equal(got.observation[CAMERA], expected.observation[CAMERA]) and torch.equal(got.action, expected.action)


def test_validation_sequences_are_held_out(columns):
    v = view(columns)
    batches = list(SequenceSampler(v, ("tool/pose",), 4, 0, length=4).validation(20))
    assert sum(map(len, batches)) == 5
    assert not list(SequenceSampler(v, ("tool/pose",), 4, 0, length=4).validation(0))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as made:
        for seed in range(3):
            make_episode(made, steps=4, seed=seed)
        yield made


def test_reduced_frames_lie_beside_the_cache_and_are_made_once(store):
    names = ("camera/front", "tool/pose")
    plain = StoreColumns.open(store, "", names)
    reduced = StoreColumns.open(store, "", names, reduction=2)
    name = reduced_name("camera/front", 2)
    frames = plain.columns["camera/front"]
    np.testing.assert_array_equal(reduced.columns[name], [box_reduce(f, 2) for f in frames])
    assert isinstance(reduced.columns[name], np.memmap) and name not in plain.columns
    file = next((store.folder / "cache").glob("*/derived/*.npy"))
    written = file.stat().st_mtime_ns
    StoreColumns.open(store, "", names, reduction=2)
    assert file.stat().st_mtime_ns == written
    config = ViewConfig.model_validate({"sources": [{"name": "all"}], "validation": 0.0})
    batch = SequenceSampler(View(reduced, config, 0), ("camera/front",), 2, 0, length=3, reduction=2).sample()
    assert batch.observation["camera/front"].shape[2:] == reduced.columns[name].shape[1:]


def test_tracked_poses_are_the_privileged_ones_under_a_name_of_their_own(store):
    cache = StoreColumns.open(store, "", ("tool/pose",))
    poses = [n for n in cache.columns if n.startswith("privileged/") and n.endswith("/pose")]
    tracked = "tracked/" + poses[0].removeprefix("privileged/")
    columns = StoreColumns.open(store, "", ("tool/pose", tracked))
    assert columns.columns[tracked] is columns.columns[poses[0]]
    with pytest.raises(ApprenticeError, match="tracked/object/ghost/pose"):
        StoreColumns.open(store, "", ("tool/pose", "tracked/object/ghost/pose"))
