"""Small data whose right answer is known: reach a coloured square that only the camera shows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.episode import ACTION_KINDS, Episode, EpisodeOutcome, Segment
from apprentice_learning.config import TrainConfig
from apprentice_learning.data.columns import ArrayColumns

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
CAMERA = "camera/front"


def make_episode(index: int, source: str, success: bool, steps: int, rng: np.random.Generator) -> Episode:
    t = steps
    images = rng.integers(0, 60, size=(t + 1, 16, 24, 3), dtype=np.uint8)
    where = rng.integers(1, 13, size=(t + 1, 2))
    for image, (y, x) in zip(images, where, strict=True):
        image[y : y + 3, x : x + 3] = (30, 220, 40)
    aim = ((where - 7) / 8).astype(np.float32)
    clean = aim[:t]
    noise = (0.1 * rng.standard_normal(clean.shape)).astype(np.float32)
    actions = {k: np.zeros_like(clean) for k in ACTION_KINDS}
    actions |= {"source": clean, "noise": noise, "mixed": clean + noise, "executed": np.clip(clean + noise, -1, 1)}
    discount = np.ones(t, dtype=np.float32)
    reward = np.zeros(t, dtype=np.float32)
    if success:
        reward[-1], discount[-1] = 1.0, 0.0
    tool = np.cumsum(rng.standard_normal((t + 1, 3)), axis=0).astype(np.float32) + index
    return Episode(
        episode_id=f"{index:04d}", path="", meta={"source": source, "task": "reach"},
        observations={CAMERA: images, "tool/pose": tool}, actions=actions, discount=discount,
        rewards={"scripted/sparse": reward}, privileged={}, actors=[source] * t, outcomes=["ok"] * t, segments=[Segment()],
        segment_index=np.zeros(t, dtype=np.int32), digests=[""] * (t + 1), stamps={},
        outcome=EpisodeOutcome(success, not success, "success" if success else "horizon", success),
    )


def make_episodes() -> list[Episode]:
    rng = np.random.default_rng(0)
    expert = [make_episode(i, "expert", i % 5 != 0, 7 + i % 4, rng) for i in range(20)]
    return expert + [make_episode(100 + i, "random_watcher", False, 9, rng) for i in range(6)]


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    return make_episodes()


@pytest.fixture(scope="session")
def columns(episodes) -> ArrayColumns:
    return ArrayColumns.from_episodes(episodes)


SETTINGS = {"d4pg": {"sequence": 4, "n_step": 2, "critic_width": 8, "atoms": 5, "target_period": 2}}


def make_train_config(algorithm: str, **changes) -> TrainConfig:
    fields = {
        "name": "test", "steps": 6, "batch": 8, "learner": {"algorithm": algorithm, "settings": SETTINGS.get(algorithm, {})},
        "network": {"cameras": [CAMERA], "proprio": ["tool/pose"], "encoder": "tiny", "proprio_embedding": 8, "hidden": [16, 16]},
        "view": {
            "sources": [
                {"name": "expert", "drivers": ["expert"], "ratio": 0.75}, {"name": "watcher", "drivers": ["random_watcher"], "ratio": 0.25},
            ],
            "action": "source" if algorithm == "bc" else "executed", "reward": "" if algorithm == "bc" else "scripted/sparse",
            "validation": 0.2,
        },
        "random_shift": 2, "log_every": 2, "validate_every": 4, "checkpoint_every": 3,
    }
    return TrainConfig.model_validate(fields | changes)


@pytest.fixture(scope="session")
def train_config():
    """Builds a small TrainConfig: train_config(algorithm, **changes)."""
    return make_train_config
