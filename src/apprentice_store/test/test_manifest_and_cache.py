"""Manifests do not change; the replay cache holds what read_episode gives."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store import cache_layout
from apprentice_store.bag_reader import read_episode
from apprentice_store.manifest import Manifest
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.testing import make_episode


def test_manifest_is_its_content(store) -> None:
    made = [make_episode(store, seed=s, task=("lift", "stack")[s % 2]) for s in range(4)]
    manifest = store.manifest("task = 'lift'")
    assert manifest.ids == (made[0].episode_id, made[2].episode_id) and manifest.revision == store.catalogue.revision
    path = store.folder / "manifests" / f"{manifest.hash}.json"
    assert Manifest.load(path) == manifest and not os.stat(path).st_mode & 0o222
    assert store.manifest("task = 'lift'").hash == manifest.hash
    make_episode(store, seed=9)
    again = store.manifest("task = 'lift'")
    assert again.hash != manifest.hash and Manifest.load(path) == manifest
    with pytest.raises(AttributeError):
        manifest.ids = ()  # type: ignore[misc]


def test_a_changed_manifest_is_refused(store) -> None:
    make_episode(store)
    manifest = store.manifest()
    path = store.folder / "manifests" / f"{manifest.hash}.json"
    raw = json.loads(path.read_text())
    copy = store.folder / "copy.json"
    for change in ({"ids": ["x"]}, {"revision": 99}, {"query": "x"}, {"hashes": []}, {"format": 2}):
        copy.write_text(json.dumps({**raw, **change}))
        with pytest.raises(ApprenticeError, match=r"manifest|hash|format"):
            Manifest.load(copy)
    copy.write_text("[1]")
    with pytest.raises(ApprenticeError, match="is not a manifest"):
        Manifest.load(copy)


def test_cache_equals_the_bags(store) -> None:
    made = [make_episode(store, steps=3 + s, seed=s) for s in range(3)]
    seen: list[tuple[int, int]] = []
    cache = ReplayCache.build(store, store.manifest(), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)] and cache.skipped == ()
    assert cache.episode_starts.tolist() == [0, 4, 9, 15] and len(cache) == 15
    assert cache.transitions.tolist() == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13]
    for k, one in enumerate(made):
        episode = read_episode(one.path)
        start, end = cache.episode_starts[k], cache.episode_starts[k + 1]
        for name, values in episode.observations.items():
            assert cache.columns[name].dtype == values.dtype
            np.testing.assert_array_equal(cache.columns[name][start:end], values)
        for name, values in episode.privileged.items():
            np.testing.assert_array_equal(cache.columns[f"privileged/{name}"][start:end], values)
        for kind, values in episode.actions.items():
            np.testing.assert_array_equal(cache.columns[f"action/{kind}"][start : end - 1], values)
            assert not cache.columns[f"action/{kind}"][end - 1].any()
        np.testing.assert_array_equal(cache.columns["reward/scripted/sparse"][start : end - 1], episode.rewards["scripted/sparse"])
        assert np.isnan(cache.columns["reward/scripted/sparse"][end - 1]) and cache.columns["discount"][end - 1] == 0
        np.testing.assert_array_equal(cache.columns["discount"][start : end - 1], episode.discount)
        assert cache.columns["step"][start:end].tolist() == list(range(len(episode) + 1))


def test_sample_gathers_rows_and_their_successors(store) -> None:
    make_episode(store, steps=6)
    cache = ReplayCache.build(store, store.manifest(), names=["camera/front", "joints/position"])
    assert "camera/depth" not in cache.columns
    names = ("camera/front", "joints/position", "action/executed", "discount")
    out, rows = cache.batch(4, names), np.array([5, 0, 3, 3])
    got = cache.sample(rows, names, out)
    for name in names:
        assert got[name] is out[name]
        np.testing.assert_array_equal(out[name], np.asarray(cache.columns[name])[rows])
    following = cache.sample(rows + 1, ["camera/front"])["camera/front"]
    np.testing.assert_array_equal(following, np.asarray(cache.columns["camera/front"])[rows + 1])
    for bad in ([-1], [len(cache)]):
        with pytest.raises(IndexError):
            cache.sample(np.array(bad), names)


def test_second_build_opens_the_first(store, monkeypatch) -> None:
    make_episode(store)
    manifest = store.manifest()
    first = ReplayCache.build(store, manifest)
    calls: list[int] = []
    assert ReplayCache.build(store, manifest, lambda *_: calls.append(1)).path == first.path and not calls
    monkeypatch.setattr(cache_layout, "DECODER", "another/2")
    assert ReplayCache.build(store, manifest).path != first.path


def test_an_interrupted_build_leaves_nothing(store) -> None:
    for s in range(3):
        make_episode(store, seed=s)
    manifest = store.manifest()

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ReplayCache.build(store, manifest, interrupt)
    assert list((store.folder / "cache").iterdir()) == []
    assert len(ReplayCache.build(store, manifest).episode_ids) == 3


def test_damaged_and_changed_bags_are_skipped(store) -> None:
    made = [make_episode(store, seed=s) for s in range(3)]
    manifest = store.manifest()
    file = next(made[1].path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:3000])
    cache = ReplayCache.build(store, manifest)
    assert cache.skipped == (made[1].episode_id,) and cache.episode_ids == (made[0].episode_id, made[2].episode_id)
    assert len(cache) == 12
    other = Manifest(manifest.ids, ("0" * 64,) * 3, "", 0)
    with pytest.raises(ApprenticeError, match="none of the 3 episodes"):
        ReplayCache.build(store, other)


def test_an_array_that_is_not_there_is_named(store) -> None:
    make_episode(store)
    with pytest.raises(ApprenticeError, match="does not observe camera/none"):
        ReplayCache.build(store, store.manifest(), names=["camera/none"])


def test_derived_columns_never_mix_models(store) -> None:
    make_episode(store)
    cache = ReplayCache.build(store, store.manifest())
    one, two = np.arange(6, dtype=np.float32), np.arange(6, 12, dtype=np.float32)
    assert cache.derived("latent", "m1") is None
    cache.add_derived("latent", "m1", one)
    cache.add_derived("latent", "m2", two)
    np.testing.assert_array_equal(ReplayCache(cache.path).derived("latent", "m1"), one)
    np.testing.assert_array_equal(cache.derived("latent", "m2"), two)
    with pytest.raises(ApprenticeError, match="5 entries for 6 rows"):
        cache.add_derived("latent", "m3", one[:5])
