"""A bag is decoded once: a cache for a longer, overlapping or trimmed manifest copies what an older one holds, to the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.manifest import Manifest
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.testing import make_episode


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Ids of the bags that were scanned and decoded, in order."""
    seen: dict[str, list[str]] = {"scanned": [], "decoded": []}
    scan, decode = EpisodeReader._scan, EpisodeReader.episode

    def counting_scan(self, file):
        seen["scanned"].append(self.path.name)
        return scan(self, file)

    def counting_decode(self, names=None):
        seen["decoded"].append(self.path.name)
        return decode(self, names)

    monkeypatch.setattr(EpisodeReader, "_scan", counting_scan)
    monkeypatch.setattr(EpisodeReader, "episode", counting_decode)
    return seen


def afresh(store, manifest: Manifest, tmp_path: Path, names=None) -> ReplayCache:
    """The same cache with nothing to copy from."""
    cache, away = store.folder / "cache", tmp_path / "away"
    cache.rename(away)
    built = ReplayCache.build(store, manifest, names=names)
    kept = tmp_path / f"fresh-{built.key}"
    shutil.move(built.path, kept)
    cache.rmdir()
    away.rename(cache)
    return ReplayCache(kept)


def assert_same_bits(one: ReplayCache, two: ReplayCache) -> None:
    assert one.episodes == two.episodes and one.skipped == two.skipped and set(one.columns) == set(two.columns)
    for name, column in one.columns.items():
        other = two.columns[name]
        assert column.dtype == other.dtype and column.shape == other.shape, name
        assert column.tobytes() == other.tobytes(), name


def test_a_longer_manifest_decodes_only_what_is_new(store, opened, tmp_path: Path) -> None:
    made = [make_episode(store, steps=3 + s, seed=s).episode_id for s in range(3)]
    opened["scanned"].clear()
    ReplayCache.build(store, store.manifest())
    assert opened["decoded"] == made
    new = make_episode(store, seed=9).episode_id
    opened["scanned"].clear()
    opened["decoded"].clear()
    longer = store.manifest()
    seen: list[tuple[int, int]] = []
    cache = ReplayCache.build(store, longer, lambda done, total: seen.append((done, total)))
    assert opened["decoded"] == [new] and set(opened["scanned"]) == {new} and seen[-1] == (4, 4)
    assert_same_bits(cache, afresh(store, longer, tmp_path))


def test_parts_and_fewer_arrays_decode_nothing(store, opened, tmp_path: Path) -> None:
    made = [make_episode(store, steps=8, seed=s, source=("expert", "teleop")[s % 2]).episode_id for s in range(4)]
    ReplayCache.build(store, store.manifest())
    opened["decoded"].clear()
    store.trim(made[0], 2, 4)
    store.trim(made[1], 3, 7)
    for where, names in (("", None), ("source = 'expert'", None), ("", ["joints/position"]), ("source = 'teleop'", ["camera/front"])):
        manifest = store.manifest(where)
        opened["decoded"].clear()
        cache = ReplayCache.build(store, manifest, names=names)
        assert opened["decoded"] == []
        assert_same_bits(cache, afresh(store, manifest, tmp_path, names))


def test_what_an_older_cache_lacks_is_decoded(store, opened, tmp_path: Path) -> None:
    made = [make_episode(store, steps=8, seed=s).episode_id for s in range(2)]
    store.trim(made[0], 2, 4)
    ReplayCache.build(store, store.manifest(), names=["joints/position"])
    store.trim(made[0], None, None)
    opened["decoded"].clear()
    manifest = store.manifest()
    cache = ReplayCache.build(store, manifest, names=["joints/position"])
    assert opened["decoded"] == [made[0]], "the trimmed cache holds but a part of it"
    opened["decoded"].clear()
    wider = ReplayCache.build(store, manifest, names=["joints/position", "camera/front"])
    assert opened["decoded"] == made
    assert_same_bits(cache, afresh(store, manifest, tmp_path, ["joints/position"]))
    assert_same_bits(wider, afresh(store, manifest, tmp_path, ["joints/position", "camera/front"]))


def test_columns_of_left_out_episodes_do_not_come_along(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_episode(store, seed=0)
    other = make_episode(store, seed=1, task="stack").episode_id
    decode = EpisodeReader.episode

    def with_another_reward(self, names=None):
        episode = decode(self, names)
        if episode.episode_id == other:
            episode.rewards["human/good"] = np.ones(len(episode), np.float32)
        return episode

    monkeypatch.setattr(EpisodeReader, "episode", with_another_reward)
    both = ReplayCache.build(store, store.manifest())
    assert np.isnan(both.columns["reward/human/good"][:6]).all() and (both.columns["reward/human/good"][6:11] == 1).all()
    lift = store.manifest("task = 'lift'")
    cache = ReplayCache.build(store, lift)
    assert "reward/human/good" not in cache.columns
    assert_same_bits(cache, afresh(store, lift, tmp_path))


def test_a_broken_older_cache_is_passed_over(store, opened, tmp_path: Path) -> None:
    made = [make_episode(store, seed=s).episode_id for s in range(2)]
    older = ReplayCache.build(store, store.manifest())
    for file in older.path.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:200])
    (store.folder / "cache" / "foreign").mkdir()
    (store.folder / "cache" / "foreign" / "cache.json").write_text('{"schema": 2}')
    make_episode(store, seed=5)
    opened["decoded"].clear()
    cache = ReplayCache.build(store, store.manifest())
    assert opened["decoded"][:2] == made
    assert_same_bits(cache, afresh(store, store.manifest(), tmp_path))


def test_windows_stop_at_the_episode_end(store) -> None:
    for s in range(3):
        make_episode(store, steps=3 + s, seed=s)
    cache = ReplayCache.build(store, store.manifest())
    names, length = ("joints/position", "camera/front", "action/executed", "discount"), 4
    rows = np.arange(len(cache))
    out = cache.batch(len(rows), names, length)
    got = cache.windows(rows, length, names, out)
    assert all(got[n] is out[n] for n in (*names, "valid"))
    owner = np.searchsorted(cache.episode_starts, rows, side="right") - 1
    for i in rows:
        end = cache.episode_starts[owner[i] + 1]
        for k in range(length):
            assert got["valid"][i, k] == (i + k < end)
            for name in names:
                np.testing.assert_array_equal(got[name][i, k], cache.columns[name][min(i + k, end - 1)])
    transitions = set(cache.transitions.tolist())
    assert all(got["valid"][i, k + 1] == (i + k < len(cache) and i + k in transitions and owner[i + k] == owner[i])
               for i in rows for k in range(length - 1))
    again = cache.windows(rows[::-3], length, names)
    for name in names:
        np.testing.assert_array_equal(again[name], got[name][::-3])
    np.testing.assert_array_equal(again["valid"], got["valid"][::-3])
    assert cache.windows(np.array([0]), 1, names)["valid"].all()
    for bad in (-1, len(cache)):
        with pytest.raises(IndexError):
            cache.windows(np.array([bad]), 2, names)
    with pytest.raises(ValueError, match="windows of 0 rows"):
        cache.windows(np.array([0]), 0, names)
