"""Recurrent D4PG solves small offline problems from the data of a random driver alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apprentice_learning.algorithms.d4pg import D4PG
from apprentice_learning.config import TrainConfig
from apprentice_learning.data.columns import ArrayColumns, EpisodeInfo
from apprentice_learning.trainer import Trainer

STEPS, EPISODES = 12, 150


def step(x: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.clip(x + 0.3 * action, -1.5, 1.5)


def observation(x: np.ndarray, goal: np.ndarray, t: int) -> np.ndarray:
    """The goal is in sight at every third step only, so that acting well takes memory."""
    seen = float(t % 3 == 0)
    return np.stack((x, goal * seen, np.full_like(x, seen)), axis=-1).astype(np.float32)


def reward(x: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return np.clip(1.0 - np.abs(x - goal), 0.0, 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def random_driver() -> ArrayColumns:
    rng = np.random.default_rng(0)
    x, goal = rng.uniform(-1, 1, EPISODES), rng.choice([-0.8, 0.8], EPISODES)
    shape = (EPISODES, STEPS + 1)
    seen, action, rewards = np.zeros((*shape, 3), np.float32), np.zeros((*shape, 1), np.float32), np.full(shape, np.nan, np.float32)
    discount = np.ones(shape, np.float32)
    for t in range(STEPS + 1):
        seen[:, t] = observation(x, goal, t)
        if t == STEPS:
            break
        action[:, t, 0] = rng.uniform(-1, 1, EPISODES)
        x = step(x, action[:, t, 0])
        rewards[:, t] = reward(x, goal)
    columns = {"state": seen, "action/executed": action, "reward/toy/near": rewards, "discount": discount}
    infos = [EpisodeInfo(f"{i:04d}", "random", "toy", None, False) for i in range(EPISODES)]
    return ArrayColumns({k: v.reshape(-1, *v.shape[2:]) for k, v in columns.items()}, np.arange(EPISODES + 1) * (STEPS + 1), infos)


def config(critic: str, steps: int) -> TrainConfig:
    return TrainConfig.model_validate({
        "name": "toy", "steps": steps, "batch": 24, "log_every": steps, "validate_every": steps, "checkpoint_every": steps,
        "learner": {"algorithm": "d4pg", "settings": {
            "critic": critic, "gamma": 0.8, "n_step": 3, "sequence": 9, "v_max": 5.0, "atoms": 21, "critic_width": 32,
            "learning_rate": 2e-3, "target_period": 20,
        }},
        "network": {"proprio": ["state"], "proprio_embedding": 16, "hidden": [32, 32]},
        "view": {"sources": [{"name": "all"}], "reward": "toy/near", "validation": 0.0},
    })


@torch.no_grad()
def mean_reward(learner: D4PG, episodes: int = 100) -> float:
    rng = np.random.default_rng(1)
    policy = learner.policy().eval()
    x, goal = rng.uniform(-1, 1, episodes), rng.choice([-0.8, 0.8], episodes)
    state, total = policy.initial_state(episodes), []
    for t in range(STEPS):
        action, state = policy.step({"state": torch.from_numpy(observation(x, goal, t))}, state)
        x = step(x, action[:, 0].numpy().astype(np.float64))
        total.append(reward(x, goal).mean())
    return float(np.mean(total[4:]))


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["categorical", "scalar"])
def test_learns_to_remember_where_to_go_from_random_data(critic, random_driver, tmp_path):
    trainer = Trainer(config(critic, 700), random_driver, tmp_path)
    before = mean_reward(trainer.learner)
    trainer.run()
    after = mean_reward(trainer.learner)
    assert before < 0.5 and after > 0.85, (before, after)
