"""Rewards of replayed data by the model of the day (spec 000 line 86), and the small network of interactive insertion (line 82)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_online_loop import SPECS, equal, make_config, request

from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.encoders import Conv3Encoder, multiply_adds
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.online.journal import MemoryJournal
from apprentice_learning.online.loop import BUNDLES, OnlineTrainer
from apprentice_learning.online.practise import NewestPolicy, practise
from apprentice_learning.online.replay import ReplayBuffer, ReplaySampler
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.testing import PointCell, point_spec

NAMES = ("tool/pose", "goal/position")


class Height:
    """A reward model that says how high the tool is, times a factor: what it says of a row is easy to check."""

    def __init__(self, factor: float, inputs: tuple[str, ...] = ("tool/pose",)):
        self.model_id, self.factor, self.inputs, self.calls = f"{factor:016.1f}", factor, inputs, 0

    def predict(self, observation):
        self.calls += 1
        height = observation["tool/pose"][:, 2]
        return np.stack([0.5 * self.factor * height, 1.5 * self.factor * height], axis=1)


def episodes(count: int, horizon: int = 10) -> MemoryJournal:
    journal = MemoryJournal()
    cell = PointCell(_Still(), journal, base=0.5, horizon=horizon, terminal=False)
    for n in range(count):
        cell.run(request(n, {}))
    return journal


class _Still:
    name, bundle_id, needs_privileged = "policy", "", False

    def reset(self, context):
        self._rng = np.random.default_rng(context.seed)

    def act(self, observation, segment, privileged=None):
        from apprentice_core.cell import SourceAction

        return SourceAction(self._rng.uniform(-0.3, 0.3, 3).astype(np.float32))

    def observe(self, observation, executed):
        pass


def test_every_row_is_the_newest_models_through_a_ring_that_wraps() -> None:
    replay = ReplayBuffer(NAMES, 50, "recorded/by_nobody", model=Height(1.0))
    entries = episodes(9).entries
    for i, entry in enumerate(entries):
        replay.add(entry.episode)
        assert np.array_equal(replay.newest_rewards(), entry.episode.observations["tool/pose"][:-1, 2].astype(np.float32))
        if i in (2, 6):
            rows = replay.rescore(Height(float(i)))
            assert rows >= len(replay)
            starts = replay.starts
            assert np.allclose(replay.columns["reward"][starts], i * replay.columns["tool/pose"][starts, 2])
            replay.rescore(Height(1.0))
    assert np.array_equal(replay.columns["reward"][replay.starts], replay.columns["tool/pose"][replay.starts, 2])
    assert np.allclose(replay.columns["discount"][replay.starts], 1.0)


def test_a_batch_never_mixes_models_and_a_model_that_reads_more_is_refused() -> None:
    entries = episodes(3).entries
    own, prior = (ReplayBuffer(NAMES, 100, "x/y", model=Height(1.0)) for _ in range(2))
    for buffer in (own, prior):
        for entry in entries:
            buffer.add(entry.episode)
    sampler = ReplaySampler(own, 8, 0, prior, 4)
    own.rescore(Height(2.0))
    with pytest.raises(ApprenticeError, match="another reward model"):
        sampler.sample()
    prior.rescore(Height(2.0))
    batch = sampler.sample()
    assert torch.allclose(batch.reward, 2.0 * batch.observation["tool/pose"][:, 2])
    with pytest.raises(ApprenticeError, match="camera/wrist"):
        own.rescore(Height(1.0, ("camera/wrist",)))
    with pytest.raises(ApprenticeError, match="reduced"):
        ReplayBuffer(NAMES, 100, "x/y", reduction=2, model=Height(1.0))


def test_the_trainer_goes_on_with_the_new_model_and_resumes_with_the_checkpoints(tmp_path: Path) -> None:
    models = {m.model_id: m for m in (Height(1.0), Height(3.0))}
    first, second = models.values()
    demos = episodes(4)
    config = make_config(warmup=10, prior_batch=4, steps=60, checkpoint_every=1)

    def build(folder: Path, journal: MemoryJournal) -> tuple[OnlineTrainer, PointCell]:
        trainer = OnlineTrainer(config, SPECS, point_spec().action_space, journal, folder, demos, reward_model=first)
        return trainer, PointCell(NewestPolicy(folder / BUNDLES), journal, base=0.5, terminal=False)

    trainer, cell = build(tmp_path / "a", MemoryJournal())
    changed: list[int] = []

    def change(ref) -> None:
        if trainer.episodes == 3:
            changed.append(trainer.use_reward(second))

    practise(trainer, cell, request, change)
    assert changed == [3 * 10 + 4 * 10] and trainer.replay.model_id == trainer.prior.model_id == second.model_id
    for buffer in (trainer.replay, trainer.prior):
        assert np.allclose(buffer.columns["reward"][buffer.starts], 3.0 * buffer.columns["tool/pose"][buffer.starts, 2])
    again, _ = build(tmp_path / "a", trainer.journal)
    assert again.resume(models.__getitem__) and again.reward_model is second and equal(trainer, again)
    assert np.array_equal(again.replay.columns["reward"][again.replay.starts], trainer.replay.columns["reward"][trainer.replay.starts])


def test_three_convolutions_and_two_dense_layers() -> None:
    encoder = Conv3Encoder(84, 84)
    assert encoder.size == 3136 and sum(isinstance(m, torch.nn.Conv2d) for m in encoder.modules()) == 3
    assert 6e6 < multiply_adds(encoder, torch.zeros(1, 84, 84, 3, dtype=torch.uint8)) < 8e6
    config = RewardTrainConfig(task="insert_usb_interactive", preset="conv3").network()
    assert config == NetworkConfig(cameras=("camera/wrist",), encoder="conv3", hidden=(256, 256))
    network = RewardNetwork((ArraySpec("camera/wrist", (84, 84, 3), "uint8"),), config)
    assert sum(isinstance(m, torch.nn.Linear) for m in network.modules()) == 3  # two hidden layers and the output
    given = network({"camera/wrist": torch.randint(0, 255, (2, 84, 84, 3), dtype=torch.uint8)})
    assert given.shape == (2,) and ((given > 0) & (given < 1)).all()
    with pytest.raises(ConfigError, match="36 x 36"):
        Conv3Encoder(32, 32)
