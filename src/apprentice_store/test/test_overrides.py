"""Rewards that people put in the place of others: what a manifest holds of them, and which of several counts."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store.manifest import Manifest, RewardOverride
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.reward_overrides import override, reward_overrides
from apprentice_store.testing import make_episode


def say(store, episode_id: str, first: int, last: int, value: float | None, task: str = "lift") -> int:
    return store.catalogue.annotate(episode_id, "reward", task, {"value": value, "first": first, "last": last}, "u1")


def test_a_manifest_names_what_was_said_and_its_hash_goes_with_it(store) -> None:
    one, two = (make_episode(store, seed=i).episode_id for i in range(2))
    plain = store.manifest("task = 'lift'")
    assert plain.rewards == () and plain.format == 1
    said = say(store, one, 1, 2, 0.5)
    changed = store.manifest("task = 'lift'")
    assert changed.rewards == (RewardOverride(one, "lift", 1, 2, 0.5),)
    same_revision = Manifest(plain.ids, plain.hashes, plain.query, changed.revision)
    assert changed.hash not in (plain.hash, same_revision.hash)
    say(store, one, 1, 2, 0.75)
    assert store.manifest("task = 'lift'").hash != changed.hash
    assert store.manifest("task = 'lift'", revision=said) == changed, "as it was then"
    path = changed.save(store.folder / "manifests")
    assert Manifest.load(path) == changed
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ApprenticeError, match="hash"):
        Manifest.load(path)
    assert store.manifest(f"id = '{two}'").rewards == (), "only of its own episodes"


def test_the_last_word_counts_step_by_step_and_can_be_taken_back(store) -> None:
    made = [make_episode(store, steps=6, seed=i).episode_id for i in range(2)]
    say(store, made[0], 0, 3, 1.0)
    say(store, made[0], 2, 5, 2.0)
    say(store, made[0], 3, 3, None)
    say(store, made[0], 0, 5, 9.0, task="reach")
    manifest = store.manifest()
    cache = ReplayCache.build(store, manifest)
    recorded = np.array(cache.columns["reward/scripted/shaped"])
    out = override(cache.columns["reward/scripted/shaped"], cache, manifest.rewards, dict.fromkeys(made, "lift"))
    expected = recorded.copy()
    expected[[0, 1, 2, 4, 5]] = 1.0, 1.0, 2.0, 2.0, 2.0
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(cache.columns["reward/scripted/shaped"], recorded, "the cache stays what was recorded")
    assert np.isnan(out[6]), "nobody's transition stays nobody's"


def test_an_override_keeps_its_steps_where_the_episode_is_trimmed(store) -> None:
    episode = make_episode(store, steps=6).episode_id
    say(store, episode, 0, 3, 1.0)
    store.trim(episode, 2, 4)
    manifest = store.manifest()
    cache = ReplayCache.build(store, manifest)
    column = cache.columns["reward/scripted/shaped"]
    out = override(column, cache, manifest.rewards, {episode: "lift"})
    assert out[:2].tolist() == [1.0, 1.0] and out[2] == column[2] and np.isnan(out[3])


def test_what_is_no_override_is_told_and_left_out(store, caplog) -> None:
    episode = make_episode(store).episode_id
    for value in ("x", {"value": 1.0}, {"value": "high", "first": 0, "last": 1}, [1, 2], None):
        store.catalogue.annotate(episode, "reward", "lift", value, "u1")
    assert reward_overrides(store.catalogue) == {} and caplog.text.count("is not a reward override") == 5
    say(store, episode, 0, 99, 1.0)
    assert store.manifest().rewards == (), "of steps that the episode lacks"
    for first, last, value in ((2, 1, 0.0), (-1, 1, 0.0), (0, 1, float("nan"))):
        with pytest.raises(ApprenticeError, match="rewards"):
            Manifest((episode,), ("h",), "", 1, (), (RewardOverride(episode, "lift", first, last, value),))


def test_queries_find_overridden_episodes_and_success_is_judged_apart(store) -> None:
    one, two = (make_episode(store, seed=i, success=False).episode_id for i in range(2))
    before = store.catalogue.revision
    say(store, one, 0, 1, 1.0)
    store.catalogue.annotate(two, "success", "", True, "u1")

    def found(where: str, revision: int | None = None) -> list[str]:
        return [r.episode_id for r in store.catalogue.episodes(where, revision=revision)]

    assert found("override = 'lift'") == [one] and found("not override = 'lift'") == [two] and found("override = 'reach'") == []
    assert found("override = 'lift'", before) == []
    assert found("success = true") == [two] and found("success = true", before) == []
