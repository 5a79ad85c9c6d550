"""Training, bundles and the reward source of the sketch model (spec 000 checklist lines 45 to 47)."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from apprentice_core.bundle import read_manifest
from apprentice_core.errors import ApprenticeError, BundleError, ConfigError
from apprentice_core.reward import RewardBatch, RewardSource
from apprentice_core.spaces import ArraySpec
from apprentice_learning.bundles import read_policy
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.rewards.bundles import read_reward, write_reward
from apprentice_learning.rewards.config import RewardTrainConfig, load_reward_config
from apprentice_learning.rewards.models import find_model, list_models
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.rewards.reward_trainer import RewardTrainer
from apprentice_learning.rewards.sketch_data import Curve, SketchedColumns, SketchSampler, split
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_learning.rewards.train import train_reward
from apprentice_store.sketches import Sketch, SketchSet
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

CAMERA, POSE = "camera/front", "tool/pose"
FRAMES = 24


class Squares:
    """Episodes in which a bright square moves right, from the left edge (no progress) to the right (success)."""

    episodes = ()

    def __init__(self, count: int):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 40, (count * FRAMES, 16, 24, 3), dtype=np.uint8)
        self.progress = rng.random(count * FRAMES).astype(np.float32)
        for image, p in zip(images, self.progress, strict=True):
            x, y = round(float(p) * 20), rng.integers(0, 12)
            image[y : y + 4, x : x + 4] = (30, 220, 40)
        self.columns = {CAMERA: images, POSE: rng.standard_normal((len(images), 7)).astype(np.float32)}
        self.episode_starts = np.arange(count + 1) * FRAMES


def squares(count: int = 20) -> SketchedColumns:
    data = Squares(count)
    rows = [np.arange(i * FRAMES, (i + 1) * FRAMES) for i in range(count)]
    curves = tuple(Curve(f"{i:04d}", r, data.progress[r]) for i, r in enumerate(rows))
    known = SketchSet("reach", 7, tuple(Sketch(c.episode_id, f"s{i}", "ann", i, c.values) for i, c in enumerate(curves)), {})
    return SketchedColumns(data, curves, known, "manifest", ())


def config(**changes) -> RewardTrainConfig:
    return RewardTrainConfig.model_validate({
        "task": "reach", "preset": "small", "cameras": [CAMERA], "proprio": [POSE], "hidden": [32], "steps": 8, "episodes": 3, "frames": 5,
        "random_shift": 1, "log_every": 2, "validate_every": 4, "checkpoint_every": 3, "patience": 0, **changes,
    })


def weights(trainer: RewardTrainer) -> dict[str, torch.Tensor]:
    return trainer.network.state_dict()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_to_rank_and_to_tell_success_by_sight(tmp_path):
    quick = config(steps=140, episodes=6, frames=8, learning_rate=5e-3, random_shift=0, validate_every=70)
    trainer = RewardTrainer(quick, squares(), tmp_path)
    assert trainer.validate()["validation/pair_accuracy"] < 0.8
    result = trainer.run()
    assert result.best["validation/pair_accuracy"] > 0.95 and result.best["validation/success_recall"] > 0.6
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 140 and lines[0]["train/loss"] > lines[-1]["train/loss"]
    assert {"train/rank_loss", "train/success_loss"} <= lines[-1].keys() and len({line["step"] for line in lines}) == len(lines)


@pytest.mark.parametrize("loss", ["ranking", "regression"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, loss):
    whole = RewardTrainer(config(loss=loss), squares(6), tmp_path / "whole")
    whole.run()
    first = RewardTrainer(config(loss=loss), squares(6), tmp_path / "cut")
    first.run(lambda step, steps, metrics: first.stop() if step == 5 else None)
    assert first.step == 5 and first._stop.is_set()
    second = RewardTrainer(config(loss=loss), squares(6), tmp_path / "cut")
    assert second.resume() and second.step == 5
    second.run()
    assert same(weights(second), weights(whole)) and second.best == whole.best and same(second.best_weights, whole.best_weights)
    other = RewardTrainer(config(loss=loss, seed=1), squares(6), tmp_path / "cut")
    assert not same(weights(other), weights(whole))
    with pytest.raises(ApprenticeError, match="another config or to other sketches"):
        other.resume()


def test_ctrl_c_leaves_a_checkpoint(tmp_path):
    trainer = RewardTrainer(config(steps=10_000), squares(6), tmp_path)
    result = trainer.run(lambda step, steps, metrics: os.kill(os.getpid(), signal.SIGINT) if step == 4 else None)
    assert result.stopped and result.steps < 100 and checkpoints(tmp_path / "checkpoints")


def test_it_stops_early_and_keeps_the_best(tmp_path):
    trainer = RewardTrainer(config(steps=5000, validate_every=1, patience=3, learning_rate=1e-9), squares(6), tmp_path)
    result = trainer.run()
    assert result.early and not result.stopped and result.steps == 4, "nothing improves after the first validation"
    assert same(trainer.best_network().state_dict(), trainer.best_weights)


def test_whole_episodes_are_held_out():
    curves = tuple(Curve(f"{i // 2:02d}", np.arange(3), np.zeros(3)) for i in range(40))  # two people on each of 20 episodes
    train, held = split(curves, 0.1, 0)
    assert len({c.episode_id for c in held}) == 2 and len(held) == 4
    assert not {c.episode_id for c in held} & {c.episode_id for c in train} and len(train) + len(held) == 40
    assert [c.episode_id for c in split(curves, 0.1, 0)[1]] == [c.episode_id for c in held]
    assert split(curves[:2], 0.5, 0)[0], "one episode trains, whatever the share"


def test_batches_are_frames_of_sketched_episodes_with_their_values():
    data = squares(6)
    sampler = SketchSampler(data, (CAMERA, POSE), config(random_shift=0, brightness=0, contrast=0), 0)
    batch = sampler.sample()
    assert batch.sketch.shape == (3, 5) and batch.observation[CAMERA].shape == (15, 16, 24, 3)
    poses, held = data.columns.columns[POSE], {c.episode_id for c in sampler.validation}
    for pose, value in zip(batch.observation[POSE].numpy(), batch.sketch.reshape(-1).tolist(), strict=True):
        row = int(np.flatnonzero((poses == pose).all(axis=1))[0])
        assert data.columns.progress[row] == np.float32(value) and f"{row // FRAMES:04d}" not in held
    jittered = SketchSampler(data, (CAMERA,), config(), 0).sample().observation[CAMERA]
    assert jittered.dtype == torch.uint8 and not torch.equal(jittered, batch.observation[CAMERA])


@pytest.mark.parametrize("preset", ["full", "small"])
def test_network_is_bounded_feed_forward_and_goes_through_a_bundle(tmp_path, preset):
    torch.manual_seed(0)
    specs = (ArraySpec(CAMERA, (16, 24, 3), "uint8"), ArraySpec(POSE, (7,)), ArraySpec("other", (3,)))
    network = RewardNetwork(specs, config(preset=preset).network()).eval()
    assert not any(isinstance(m, nn.RNNBase) for m in network.modules())
    rng = np.random.default_rng(0)
    observation = {CAMERA: rng.integers(0, 255, (70, 16, 24, 3), dtype=np.uint8), POSE: rng.standard_normal((70, 7)).astype(np.float32)}
    with torch.no_grad():
        direct = network({k: torch.from_numpy(v) for k, v in observation.items()})
    assert direct.shape == (70,) and (direct > 0).all() and (direct < 1).all()
    written = write_reward(tmp_path / "b", [network, network], name="n", task="reach", config={}, lineage={"sketches": ["a"]})
    source = SketchReward(tmp_path / "b")
    assert isinstance(source, RewardSource) and source.model_id == written and source.inputs == (CAMERA, POSE)
    np.testing.assert_allclose(source.predict(observation), np.stack([direct, direct], axis=1), atol=1e-5)
    batch = RewardBatch(observation, np.zeros((70, 7)), {}, np.arange(70), np.full(70, 70))
    rewards = source.compute_reward(batch)
    assert list(rewards) == ["reach", "reach_spread"] and rewards["reach"].valid.all() and not rewards["reach"].success.any()
    np.testing.assert_allclose(rewards["reach"].value, direct, atol=1e-5)
    assert not rewards["reach_spread"].value.any()


def test_what_does_not_fit_is_named(tmp_path):
    specs = (ArraySpec(CAMERA, (16, 24, 3), "uint8"), ArraySpec(POSE, (7,)))
    network = RewardNetwork(specs, config().network())
    write_reward(tmp_path / "b", [network], name="n", task="reach", config={}, lineage={})
    source = SketchReward(tmp_path / "b")
    with pytest.raises(BundleError, match="camera/front: the reward model reads"):
        source.check((ArraySpec("camera/back", (16, 24, 3), "uint8"), ArraySpec(POSE, (7,))))
    with pytest.raises(ValueError, match="lacks camera/front"):
        source.predict({POSE: np.zeros((1, 7), np.float32)})
    with pytest.raises(ValueError, match="uint8 \\(8, 8, 3\\)"):
        source.predict({CAMERA: np.zeros((1, 8, 8, 3), np.uint8), POSE: np.zeros((1, 7), np.float32)})
    with pytest.raises(BundleError, match="kind: is 'reward'"):
        read_policy(tmp_path / "b")
    raw = json.loads((tmp_path / "b" / "bundle.json").read_text())
    for field, wrong in (("members", 10**9), ("task", 3), ("type", "other/1")):
        (tmp_path / "b" / "bundle.json").write_text(json.dumps({**raw, "network": {**raw["network"], field: wrong}}))
        with pytest.raises(BundleError, match=f"network.{field}"):
            read_reward(tmp_path / "b")
    with pytest.raises(ConfigError, match="momentum"):
        load_reward_config("sketch", task="reach", momentum=1)
    with pytest.raises(ConfigError, match="task"):
        load_reward_config("sketch", task="../reach")


def test_config_files_hold_the_specs_numbers():
    full = load_reward_config("sketch", task="lift")
    assert (full.episodes, full.frames, full.learning_rate, full.steps) == (32, 16, 1e-4, 100_000)
    assert (full.random_shift, full.validation, full.members) == (4, 0.1, 1)
    assert full.network().encoder == "full" and full.network().cameras == ("camera/basket_front_left", "camera/wrist_left")
    assert load_reward_config("sketch_small", task="lift").network().encoder == "tiny"


def test_from_sketches_in_a_store_to_a_bundle_with_its_lineage(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    data = tmp_path / "bags"
    with Store(data) as store:
        made = [make_episode(store, steps=6 + i, seed=i) for i in range(5)]
        add = store.catalogue.add_reward_sequence
        for i, m in enumerate(made[:4]):
            add(m.episode_id, "reach", np.linspace(0, 1, 7 + i), "ann")
        add(made[0].episode_id, "reach", np.linspace(0, 0.5, 7), "bob")
        add(made[1].episode_id, "reach", np.linspace(0, 0.4, 8), "ann")  # drawn again: the newest counts
        pinned = add(made[1].episode_id, "other", np.zeros(8), "ann")
        add(made[2].episode_id, "reach", np.zeros(9), "cid")  # after the revision
        add(made[3].episode_id, "reach", np.zeros(3), "dan")  # and not a value for each frame
    small = config(members=2, steps=3, validation=0.25)
    result = train_reward(small, data, tmp_path / "run", revision=pinned)
    assert (result.sketches, result.episodes, result.revision, result.refused) == (5, 4, pinned, {})
    manifest = read_manifest(result.bundle)
    assert result.bundle == find_model(data, "reach") and manifest.kind == "reward" and manifest.network["members"] == 2
    assert manifest.lineage["annotation_revision"] == pinned and len(manifest.lineage["sketches"]) == 5
    assert manifest.lineage["annotators"] == ["ann", "bob"] and manifest.lineage["manifest"] and manifest.lineage["episodes_held_out"] == 1
    _, members, _ = read_reward(result.bundle)
    assert not same(members[0].state_dict(), members[1].state_dict())
    assert train_reward(small, data, tmp_path / "again", revision=pinned).bundle_id == result.bundle_id, "deterministic by seed"
    # Resuming keeps the revision of the run; a new run sees what was sketched since, and the older model stays.
    assert train_reward(small, data, tmp_path / "run", resume=True).bundle_id == result.bundle_id
    later = train_reward(small, data, tmp_path / "later")
    assert later.sketches == 6 and len(later.refused) == 1 and "3 values for 10 frames" in next(iter(later.refused.values()))
    assert [p.name for p in list_models(data, "reach")] == [result.bundle_id, later.bundle_id] and find_model(data, "reach") == later.bundle
    assert find_model(data, "reach", result.bundle_id) == result.bundle
    with pytest.raises(ApprenticeError, match="no episode is sketched for task 'lift'"):
        train_reward(config(task="lift"), data, tmp_path / "none")
    with pytest.raises(ApprenticeError, match="no reward model 'x'"):
        find_model(data, "reach", "x")
