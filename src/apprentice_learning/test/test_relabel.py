"""Relabelling, the view on predicted rewards, and the delusion finder (spec 000 checklist lines 50 to 52 and 71)."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.bundle import read_manifest
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_learning.config import TrainConfig
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.data.view import View
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.rewards import engines, scoring
from apprentice_learning.rewards.bundles import write_reward
from apprentice_learning.rewards.delusions import DelusionFinder, sustained
from apprentice_learning.rewards.relabel import Relabeller, relabel
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_learning.train import train
from apprentice_store import catalogue
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.predictions import CatalogueBusy, Predictions
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.store import Store
from apprentice_store.testing import child_environment, make_episode, make_spec

CAMERA, POSE = "camera/front", "tool/pose"


def model(folder: Path, seed: int = 0, members: int = 1, camera: str = CAMERA) -> Path:
    specs = tuple(s if s.name != CAMERA else type(s)(camera, s.shape, s.dtype) for s in make_spec().observation)
    torch.manual_seed(seed)
    network = NetworkConfig(cameras=(camera,), proprio=(POSE,), encoder="tiny", hidden=(16,))
    path = folder / f"model_{seed}_{members}"
    write_reward(path, [RewardNetwork(specs, network) for _ in range(members)], name="m", task="reach", config={}, lineage={})
    return path


@pytest.fixture
def bags(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as store:
        made = [make_episode(store, steps=4 + i, seed=i, task="reach" if i % 2 else "lift", success=i != 3) for i in range(5)]
    return tmp_path / "bags", made


def scored(data: Path, bundle: Path) -> dict[str, np.ndarray]:
    with Store(data) as store:
        known = Predictions(store)
        return {i: known.read(p) for i, p in known.of("reach", SketchReward(bundle).model_id).items()}


def check(data: Path, made: list, bundle: Path) -> None:
    """Every frame of every episode, of whatever task, has what the model says of it."""
    source, found = SketchReward(bundle), scored(data, bundle)
    assert found.keys() == {m.episode_id for m in made}
    for m in made:
        observation = {n: np.stack([o[n] for o in m.observations]) for n in source.inputs}
        assert len(found[m.episode_id]) == len(m.records) + 1
        np.testing.assert_allclose(found[m.episode_id], source.predict(observation), atol=1e-5)


def test_every_frame_of_every_episode_is_scored_once(bags, tmp_path):
    data, made = bags
    bundle, other = model(tmp_path, 0, 2), model(tmp_path, 1)
    result = relabel(data, "reach", bundle)
    assert (result.episodes, result.frames, result.known, result.skipped) == (5, sum(len(m.records) + 1 for m in made), 0, {})
    check(data, made, bundle)
    before = {p: p.stat().st_mtime_ns for p in data.rglob("predicted/**/*.npy")}
    with Store(data) as store:
        revision = store.catalogue.revision
        make_episode(store, steps=3, seed=9)
    again = relabel(data, "reach", bundle)
    assert (again.episodes, again.known) == (1, 5)
    assert before.items() <= {p: p.stat().st_mtime_ns for p in data.rglob("predicted/**/*.npy")}.items(), "nothing is written anew"
    relabel(data, "reach", other)
    with Store(data) as store:
        known, ids = Predictions(store), [SketchReward(b).model_id for b in (bundle, other)]
        assert known.models("reach") == ids and len(known.of("reach", ids[0])) == 6
        assert len(known.of("reach", ids[0], revision)) == 5 and known.models("reach", revision) == ids[:1]
    with pytest.raises(ApprenticeError, match="learned task 'reach', not 'lift'"):
        relabel(data, "lift", bundle)


def test_frames_that_a_cache_holds_are_not_decoded_again(bags, tmp_path, monkeypatch):
    data, made = bags
    with Store(data) as store:
        store.trim(made[4].episode_id, 1, 3)
        ReplayCache.build(store, store.manifest(), names=(CAMERA, POSE))
    decoded = []
    monkeypatch.setattr(scoring, "EpisodeReader", lambda path: decoded.append(path) or EpisodeReader(path))
    bundle = model(tmp_path)
    assert relabel(data, "reach", bundle).episodes == 5
    assert decoded == [made[4].path], "a trimmed episode is not whole in the cache"
    check(data, made, bundle)
    for column in data.glob("cache/*/*.npy"):
        column.write_bytes(b"torn")
    assert relabel(data, "reach", model(tmp_path, 1)).episodes == 5 and len(decoded) == 6
    check(data, made, model(tmp_path, 1))


def test_damaged_deleted_and_foreign_bags_are_skipped_and_counted(bags, tmp_path):
    data, made = bags
    bag = next(made[0].path.glob("*.mcap"))
    bag.write_bytes(bag.read_bytes()[:-50])
    shutil.rmtree(made[1].path)
    bundle = model(tmp_path)
    result = relabel(data, "reach", bundle)
    assert result.episodes == 3 and result.skipped.keys() == {made[0].episode_id, made[1].episode_id}
    assert all(result.skipped.values())
    check(data, made[2:], bundle)
    with pytest.raises(ApprenticeError, match=r"none of 3 episodes could be scored.*camera/roof: the reward model reads"):
        relabel(data, "reach", model(tmp_path, 5, camera="camera/roof"), where="steps >= 6")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        relabel(data, "reach", tmp_path)


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from apprentice_learning.rewards.relabel import relabel

def told(done, total, result):
    if done == 3:
        print(*(p.pid for p in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    relabel(sys.argv[1], "reach", Path(sys.argv[2]), workers=2, progress=told)
"""


def test_a_kill_loses_only_what_was_being_scored_and_leaves_no_process(bags, tmp_path):
    """In local processes, killed with -9 after three episodes; the next call does the rest, here."""
    data, made = bags
    bundle, script = model(tmp_path), tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(data), str(bundle)]
    done = subprocess.run(command, env=child_environment(), check=False, timeout=110, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL and len(scored(data, bundle)) == 3
    workers = [Path(f"/proc/{pid}/stat") for pid in done.stdout.split()]
    assert len(workers) == 2

    def alive() -> list[Path]:
        return [w for w in workers if w.exists() and w.read_text().split()[2] != "Z"]

    deadline = time.monotonic() + 10
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive()
    result = relabel(data, "reach", bundle)
    assert (result.known, result.episodes) == (3, 2)
    check(data, made, bundle)


def test_a_locked_catalogue_is_told_and_loses_nothing(bags, tmp_path, monkeypatch):
    data, made = bags
    monkeypatch.setattr(catalogue, "BUSY_TIMEOUT", 0.05)
    bundle, other = model(tmp_path), sqlite3.connect(data / "catalogue.sqlite", isolation_level=None)

    def seize(done: int, total: int, result: object) -> None:
        if done == 2:
            other.execute("begin immediate")

    with pytest.raises(CatalogueBusy, match=r"database is locked.*run it again"):
        relabel(data, "reach", bundle, progress=seize)
    other.execute("rollback")
    other.close()
    assert len(scored(data, bundle)) == 2
    assert relabel(data, "reach", bundle).episodes == 3
    check(data, made, bundle)


def test_a_file_that_was_lost_or_changed_is_not_believed(bags, tmp_path):
    data, made = bags
    bundle = model(tmp_path)
    relabel(data, "reach", bundle)
    files = sorted(data.rglob("predicted/**/*.npy"))
    files[0].unlink()
    assert relabel(data, "reach", bundle).episodes == 1
    np.save(files[1], np.ones((5, 1), np.float32))
    with pytest.raises(ApprenticeError, match="differs from what was written"):
        scored(data, bundle)
    with Store(data) as store:
        store.catalogue.annotate(made[2].episode_id, "predicted_reward", "reach", {
            "file": "predicted/../../../etc/passwd", "frames": 1, "bag": "", "sha256": "",
        }, author="evil")
        assert Predictions(store).of("reach", "evil") == {}


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the package ray is not installed; --engine ray needs it")
@pytest.mark.timeout(150)
def test_a_ray_cluster_scores_the_same(bags, tmp_path, monkeypatch):
    data, made = bags
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", child_environment()["PYTHONPATH"])
    bundle = model(tmp_path)
    result = relabel(data, "reach", bundle, engine="ray", workers=1)
    assert result.episodes == 5 and not result.skipped
    check(data, made, bundle)
    import ray

    assert not ray.is_initialized(), "the cluster that was started for this is ended"


def test_without_ray_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ApprenticeError, match="pip install ray"):
        engines.make_engine("ray", tmp_path)
    with pytest.raises(ApprenticeError, match="no engine named 'slurm'"):
        engines.make_engine("slurm", tmp_path)


def test_new_episodes_are_labelled_on_arrival(bags, tmp_path):
    data, made = bags
    bundle = model(tmp_path)
    with Store(data) as store:
        relabeller = Relabeller(store, "reach", bundle)
        engine = engines.InProcess(bundle, "cpu")
        watching = threading.Thread(target=relabeller.watch, args=(engine,), kwargs={"period": 0.02})
        watching.start()
        try:
            for wanted in (5, 6):
                deadline = time.monotonic() + 20
                while relabeller.result.episodes < wanted and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert relabeller.result.episodes == wanted
                if wanted == 5:
                    with Store(data) as recorder:
                        made.append(make_episode(recorder, steps=3, seed=30))
        finally:
            relabeller.stop()
            watching.join(20)
        assert not watching.is_alive()
    check(data, made, bundle)


def view_of(data: Path, train_config, **changes):
    config = train_config("iql").view.model_copy(update={
        "reward": "model/reach", "sources": train_config("iql").view.sources[:1], **changes,
    })
    source = config.sources[0].model_copy(update={"ratio": 1.0})
    config = config.model_copy(update={"sources": (source,)})
    with Store(data) as store:
        columns = StoreColumns.open(store, "kind = 'episode'", (POSE,), view=config)
    return columns, View(columns, config, 0)


def test_training_reads_predicted_rewards_by_task_and_version(bags, tmp_path, train_config):
    data, made = bags
    first, second = model(tmp_path, 0, 2), model(tmp_path, 1)
    with Store(data) as store:
        store.trim(made[4].episode_id, 2, 5)
    with pytest.raises(ApprenticeError, match=r"no model has labelled.*apprentice relabel reach"):
        view_of(data, train_config)
    for bundle in (first, second):
        relabel(data, "reach", bundle)
    ids = [SketchReward(b).model_id for b in (first, second)]
    for wanted, bundle in (({"reward_model": ids[0]}, first), ({}, second)):
        columns, view = view_of(data, train_config, **wanted)
        assert columns.reward_model == SketchReward(bundle).model_id and columns.unlabelled == ()
        values = scored(data, bundle)
        for info, start, stop in zip(columns.episodes, columns.episode_starts, columns.episode_starts[1:], strict=False):
            offset = 2 if info.episode_id == made[4].episode_id else 0
            expected = values[info.episode_id].mean(axis=1)[offset : offset + stop - start - 1]
            np.testing.assert_allclose(view.reward[start : stop - 1], expected, rtol=1e-6)
    caches = list((data / "cache").glob("[!.]*"))
    assert len(caches) == 1 and len(list(caches[0].glob("derived/*.npy"))) == 2, "one copy of the observations, a small file a model"
    with pytest.raises(ApprenticeError, match="'nobody' has not labelled"):
        view_of(data, train_config, reward_model="nobody")


def test_an_agent_says_which_model_and_query_it_learned_from(bags, tmp_path, train_config):
    data, _ = bags
    bundle = model(tmp_path)
    relabel(data, "reach", bundle)
    relabel(data, "reach", model(tmp_path, 1))
    fields = train_config("d4pg").model_dump()
    fields["view"] |= {"reward": "model/reach", "reward_model": SketchReward(bundle).model_id, "sources": [{"name": "all"}]}
    result = train(TrainConfig.model_validate(fields), data, tmp_path / "run", where="kind = 'episode' and task = 'reach'")
    lineage = read_manifest(result.bundle).lineage
    assert lineage["reward_model"] == SketchReward(bundle).model_id and lineage["query"] == "kind = 'episode' and task = 'reach'"
    assert lineage["episodes"] == 2 and len(lineage["manifest"]) == 64


def test_episodes_without_prediction_are_refused_or_left_out_and_counted(bags, tmp_path, train_config):
    data, made = bags
    relabel(data, "reach", model(tmp_path))
    with Store(data) as store:
        new = make_episode(store, steps=6, seed=40)
    with pytest.raises(ApprenticeError, match="1 of 6 episodes have no reward predicted"):
        view_of(data, train_config)
    columns, view = view_of(data, train_config, unlabelled="leave_out")
    assert columns.unlabelled == (new.episode_id,)
    rows = np.concatenate([np.concatenate([s.train, s.validation]) for s in view.splits.values()])
    index = [e.episode_id for e in columns.episodes].index(new.episode_id)
    assert not ((rows >= columns.episode_starts[index]) & (rows < columns.episode_starts[index + 1])).any()
    assert len(rows) == sum(len(m.records) for m in made) and np.isfinite(view.reward[rows]).all()
    relabel(data, "reach", model(tmp_path))
    assert view_of(data, train_config)[0].unlabelled == (), "an incomplete column is not kept"


def predict(store: Store, episode_id: str, model_id: str, values: np.ndarray) -> None:
    row = store.catalogue.get(episode_id)
    Predictions(store).add(row, "reach", model_id, np.asarray(values, np.float32))


def test_delusions_are_ranked_with_their_reasons(bags):
    data, made = bags
    with Store(data) as store:
        frames = {m.episode_id: len(m.records) + 1 for m in made}
        fooled, flicker, sketched, honest, other = (m.episode_id for m in made)
        for m in (fooled, flicker, sketched):
            store.catalogue.annotate(m, "success", "", False, "u1")
        store.catalogue.annotate(honest, "success", "", True, "u1")
        for m in made:
            predict(store, m.episode_id, "old", np.full((frames[m.episode_id], 3), 0.1))
        high = np.full((frames[fooled], 3), 0.95)
        predict(store, fooled, "new", high)
        spike = np.zeros((frames[flicker], 3))
        spike[2] = 1.0
        predict(store, flicker, "new", spike)
        predict(store, sketched, "new", np.full((frames[sketched], 3), 0.9))
        predict(store, honest, "new", np.full((frames[honest], 3), 0.95))
        apart = np.zeros((frames[other], 3))
        apart[:, 1] = 0.6
        predict(store, other, "new", apart)
        store.catalogue.add_reward_sequence(sketched, "reach", np.zeros(frames[sketched]), "u1")
        finder = DelusionFinder(store, "reach")
        assert finder.model_id == "new" and finder.other == "old"
        everything = "kind = 'episode'"
        failures = finder.find("failure", where=everything)
        assert [d.episode_id for d in failures] == [fooled, flicker], "judged a success, or sketched: not asked for again"
        assert failures[0].score == pytest.approx(0.95) and "judged a failure" in failures[0].reason
        assert failures[1].score == pytest.approx(0.2), "one frame of 5"
        assert [d.episode_id for d in finder.find("failure", where=everything, unsketched=False)] == [fooled, sketched, flicker]
        assert [d.episode_id for d in finder.find("failure")] == [flicker], "a failure at another task says nothing of this one"
        spread = finder.find("ensemble", limit=1)
        assert spread[0].episode_id == other and spread[0].score == pytest.approx(0.6)
        versions = finder.find("versions")
        assert versions[0].episode_id == honest or versions[0].episode_id == fooled
        assert versions[0].score == pytest.approx(0.85) and "old" in versions[0].reason
        with pytest.raises(ApprenticeError, match="no earlier one"):
            DelusionFinder(store, "reach", "old").find("versions")
        predict(store, fooled, "single", high[:, :1])
        with pytest.raises(ApprenticeError, match="single model"):
            DelusionFinder(store, "reach").find("ensemble")
    with Store(data) as store, pytest.raises(ApprenticeError, match="run `apprentice relabel lift`"):
        DelusionFinder(store, "lift")


def test_sustained_looks_over_a_window():
    assert sustained(np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]), 5) == (pytest.approx(0.2), 0)
    assert sustained(np.array([0.1, 0.5]), 5) == (pytest.approx(0.3), 0)
    assert json.dumps(sustained(np.array([0.0, 0.0, 1.0, 1.0]), 2)) == "[1.0, 2]"

