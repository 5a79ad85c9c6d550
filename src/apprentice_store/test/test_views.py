"""Views, not rewrites: hidden episodes and trims are annotations; old revisions give old manifests; folders merge."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import Catalogue
from apprentice_store.manifest import Manifest
from apprentice_store.merge import STAGING
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.store import Store
from apprentice_store.testing import make_episode


def ids(rows) -> list[str]:
    return [r.episode_id for r in rows]


def test_hidden_episodes_are_left_out_and_come_back(store) -> None:
    a, b, c = (make_episode(store, seed=s).episode_id for s in range(3))
    before = store.manifest()
    store.hide(b, author="me")
    assert ids(store.episodes()) == [a, c] == list(store.manifest().ids)
    assert ids(store.episodes("task = 'lift' or steps > 0")) == [a, c], "an `or` does not let them in"
    assert ids(store.episodes("hidden = true")) == [b] and ids(store.episodes("hidden = false")) == [a, c]
    assert ids(store.episodes("hidden != true and steps = 5")) == [a, c]
    assert ids(store.episodes(hidden=True)) == [a, b, c] and store.catalogue.count() == 2
    stats = store.stats()
    assert (stats["episodes"], stats["hidden"], stats["steps"]) == (2, 1, 10)
    assert store.check().ok and store.repair().rows == [], "hidden is not missing"
    assert len(store.read(b)) == 5
    store.hide(b, hidden=False)
    assert ids(store.episodes()) == [a, b, c] and store.manifest().hashes == before.hashes
    assert [(x.kind, x.value, x.author) for x in store.catalogue.annotations(b)][1:] == [("hidden", True, "me"), ("hidden", False, "")]
    with pytest.raises(ApprenticeError, match="no episode"):
        store.hide("x")
    for wrong, message in (("hidden", "a comparison"), ("hidden = 1", "a bool for hidden"), ("hidden is null", "a comparison")):
        with pytest.raises(ApprenticeError, match=message):
            store.episodes(wrong)


def test_an_old_revision_gives_the_manifest_of_then(store) -> None:
    """Each change after a manifest is one that would show in it: commits, tags, judgements, hiding, trims, sketches."""
    where = "success = true and tag = 'good' and not sketch = 'lift'"
    a, b, c = (make_episode(store, seed=s).episode_id for s in range(3))
    for one in (a, b, c):
        store.tag(one, "good")
    made: list[Manifest] = [store.manifest(where)]

    def then(change) -> None:
        change()
        made.append(store.manifest(where))
        for old in made:
            again = store.manifest(old.query, save=False, revision=old.revision)
            assert again == old and again.hash == old.hash

    then(lambda: store.trim(a, 1, 3))
    then(lambda: store.hide(b))
    then(lambda: store.tag(c, "good", present=False))
    then(lambda: store.trim(a, 0, 2))
    then(lambda: store.hide(b, hidden=False))
    then(lambda: store.catalogue.annotate(b, "success", "judged", False))
    then(lambda: store.tag(make_episode(store, seed=7).episode_id, "good"))
    then(lambda: store.catalogue.annotate(b, "success", "judged", True))
    then(lambda: store.catalogue.add_reward_sequence(a, "lift", np.zeros(6, np.float32), "me"))
    then(lambda: store.trim(a, None, None))
    sizes = [len(m) for m in made]
    assert sizes == [3, 3, 2, 1, 1, 2, 1, 2, 3, 2, 2], sizes
    assert made[1].trims == ((a, 1, 3),) and made[4].trims == ((a, 0, 2),) and made[-1].trims == ()
    for old in made:
        assert Manifest.load(store.folder / "manifests" / f"{old.hash}.json") == old
    assert len({m.hash for m in made}) == len(made)
    for wrong in (-1, store.catalogue.revision + 1):
        with pytest.raises(ApprenticeError, match="the catalogue is at"):
            store.manifest(revision=wrong)


def test_trims_change_the_hash_and_nothing_else_does(store) -> None:
    one = make_episode(store).episode_id
    plain = store.manifest()
    assert replace(plain, trims=((one, 0, 3),)).hash not in (plain.hash, replace(plain, trims=((one, 0, 2),)).hash)
    for trims in (((one, 2, 1),), ((one, -1, 1),), (("other", 0, 1),), ((one, 0, 1), (one, 0, 2))):
        with pytest.raises(ApprenticeError, match="trims"):
            replace(plain, trims=trims)
    for first, last in ((0, 5), (3, 2), (-1, 2)):
        with pytest.raises(ApprenticeError, match="has steps 0 to 4"):
            store.trim(one, first, last)
    with pytest.raises(ApprenticeError, match="or neither"):
        store.trim(one, 1, None)
    with pytest.raises(ApprenticeError, match="no episode"):
        store.trim("x", 0, 1)


def test_the_cache_holds_the_trimmed_steps(store) -> None:
    made = [make_episode(store, steps=8, seed=s) for s in range(3)]
    whole = ReplayCache.build(store, store.manifest())
    store.trim(made[0].episode_id, 2, 4)
    store.trim(made[1].episode_id, 5, 7)
    cache = ReplayCache.build(store, store.manifest())
    assert cache.path != whole.path and cache.episode_starts.tolist() == [0, 4, 8, 17]
    assert [e.cut for e in cache.episodes] == [True, False, False]
    assert cache.transitions.tolist() == [0, 1, 2, 4, 5, 6, *range(8, 16)]
    assert cache.columns["step"][:8].tolist() == [2, 3, 4, 5, 5, 6, 7, 8], "numbered as in the bag"
    for start, source, steps in ((0, 2, 3), (4, 9 + 5, 3)):
        for name, column in cache.columns.items():
            same = steps if name == "discount" or name.startswith(("action/", "reward/")) else steps + 1
            np.testing.assert_array_equal(column[start : start + same], whole.columns[name][source : source + same], err_msg=name)
            if same == steps:
                expected = np.nan if name.startswith("reward/") else 0
                np.testing.assert_array_equal(column[start + steps], np.full(column.shape[1:], expected), err_msg=name)
    assert cache.columns["discount"][:4].tolist() == [1, 1, 1, 0], "cut off: a time-out, its last step bootstraps"
    assert cache.columns["discount"][4:8].tolist() == [1, 1, 0, 0], "its own end stays a terminal"


@pytest.mark.parametrize("link", [False, True])
def test_merge_brings_bags_rows_and_annotations_once(tmp_path: Path, store, link: bool) -> None:
    mine = make_episode(store, seed=1).episode_id
    with Store(tmp_path / "other") as other:
        made = [make_episode(other, seed=s) for s in range(3)]
        a, b, c = (m.episode_id for m in made)
        other.tag(a, "good", author="u1")
        other.hide(b)
        other.trim(c, 1, 3)
        other.catalogue.annotate(a, "success", "judged", False, "u1")
        other.catalogue.add_reward_sequence(a, "lift", np.arange(6, dtype=np.float32), "u1")
        rows = {r.episode_id: r for r in other.episodes(hidden=True)}
        said = {i: [replace(x, revision=0) for x in other.catalogue.annotations(i)] for i in (a, b, c)}
        report = store.merge(other.folder, link)
        assert report.imported == [a, b, c] and report.present == [] and report.ok and report.annotations == 8
        again = store.merge(other.folder, link)
        assert again.present == [a, b, c] and again.imported == [] and again.annotations == 0 and again.ok
        other.tag(b, "late")
        assert store.merge(other.folder, link).annotations == 1 and store.catalogue.tags_of(b) == ["late", "made"]
    assert {r.episode_id: replace(r, store_id="") for r in store.episodes(hidden=True) if r.episode_id != mine} == {
        i: replace(r, store_id="") for i, r in rows.items()
    }
    for i in (a, b, c):
        assert [replace(x, revision=0) for x in store.catalogue.annotations(i)][: len(said[i])] == said[i]
    assert store.catalogue.reward_sequences(a, "lift")[0][3].tolist() == [0, 1, 2, 3, 4, 5]
    assert sorted(store.manifest().ids) == sorted([mine, a, c]) and store.manifest().trims == ((c, 1, 3),)
    assert store.check().ok and list((store.folder / STAGING).iterdir()) == []
    file = next((store.folder / a).glob("*.mcap"))
    assert (os.stat(file).st_nlink > 1) is link
    np.testing.assert_array_equal(store.read(a).observations["camera/front"][2], made[0].observations[2]["camera/front"])


def test_merge_says_what_it_refuses(tmp_path: Path, store) -> None:
    with Store(tmp_path / "other") as other:
        made = [make_episode(other, seed=s) for s in range(4)]
        good, flipped, torn, clash = made
        store.merge(other.folder)
        for m in (good, flipped, torn):
            for path in (store.folder / m.episode_id).iterdir():
                path.unlink()
            (store.folder / m.episode_id).rmdir()
        file = next(flipped.path.glob("*.mcap"))
        raw = bytearray(file.read_bytes())
        raw[-9] ^= 1
        file.write_bytes(raw)
        torn.path.rename(torn.path.with_name(f"{torn.episode_id}.open"))
        (clash.path / "metadata.yaml").write_text((clash.path / "metadata.yaml").read_text().replace("hash: ", "hash: 0"))
        report = store.merge(other.folder)
    assert report.imported == [good.episode_id] and not report.ok
    assert {(f.code, f.name) for f in report.refused} == {
        ("damaged", flipped.episode_id), ("torn", f"{torn.episode_id}.open"), ("conflict", clash.episode_id),
    }
    assert not (store.folder / flipped.episode_id).exists() and (store.folder / clash.episode_id).exists()
    assert list((store.folder / STAGING).iterdir()) == []
    with pytest.raises(ApprenticeError, match="this data folder itself"):
        store.merge(store.folder)
    with pytest.raises(ApprenticeError, match="not a data folder"):
        store.merge(tmp_path / "none")


def test_merge_of_bags_whose_rows_are_lost(tmp_path: Path, store) -> None:
    with Store(tmp_path / "other") as other:
        made = make_episode(other)
    for path in (tmp_path / "other").glob("catalogue.sqlite*"):
        path.unlink()
    assert store.merge(tmp_path / "other").imported == [made.episode_id]
    assert store.catalogue.tags_of(made.episode_id) == ["made"] and not (tmp_path / "other" / "catalogue.sqlite").exists()


def test_a_catalogue_from_before_commits_were_kept(store) -> None:
    """Tables are added on opening; its episodes count as there from the beginning."""
    one = make_episode(store).episode_id
    url = store.catalogue.url
    store.close()
    import sqlite3

    with sqlite3.connect(store.folder / "catalogue.sqlite") as connection:
        connection.execute("drop table EpisodeCommits")
    catalogue = Catalogue(url)
    assert ids(catalogue.episodes("success = true", revision=0)) == [one] == ids(catalogue.episodes(revision=catalogue.revision))
    catalogue.close()
