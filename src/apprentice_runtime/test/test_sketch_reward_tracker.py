"""Which frames and actions a reward source is given, tick by tick."""

from __future__ import annotations

import numpy as np
import torch

from apprentice_core.episode import Segment
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.rewards.bundles import write_reward
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_runtime.reward_tracker import RewardTracker
from apprentice_runtime.tick import TickPlan

SPECS = (ArraySpec("camera/front", (16, 24, 3), "uint8"), ArraySpec("tool/pose", (7,)))


def plan(episode: str, step: int) -> TickPlan:
    return TickPlan(0, 0, episode, 100 + step, step, False, (), ("sketch",), Segment(), (), ())


def test_a_sketch_model_scores_the_frame_that_each_step_began_with(tmp_path):
    torch.manual_seed(0)
    network = RewardNetwork(SPECS, NetworkConfig(cameras=("camera/front",), proprio=("tool/pose",), encoder="tiny", hidden=(8,)))
    write_reward(tmp_path / "m", [network], name="m", task="lift", config={}, lineage={})
    source, rng = SketchReward(tmp_path / "m"), np.random.default_rng(0)
    tracker = RewardTracker(source, 7)
    frames = [
        {"camera/front": rng.integers(0, 255, (16, 24, 3), dtype=np.uint8), "tool/pose": rng.standard_normal(7).astype(np.float32)}
        for _ in range(4)
    ]
    expected = source.predict({k: np.stack([f[k] for f in frames]) for k in frames[0]})[:, 0]
    assert tracker.tick(plan("a", 0), frames[0], None) is None
    for t in (1, 2, 3):
        given = tracker.tick(plan("a", t), frames[t], None)
        assert given is not None
        step_id, rewards = given
        assert step_id == 100 + t - 1 and list(rewards) == ["lift"]
        np.testing.assert_allclose(rewards["lift"].value, expected[t - 1 : t], atol=1e-6)
    assert tracker.tick(plan("b", 0), frames[0], None) is None, "an episode's first tick ends no transition of the one before"
