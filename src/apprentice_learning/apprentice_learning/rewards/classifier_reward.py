"""The learned success classifier as a reward (spec 001c section 4.5): of s' alone, and from images alone (C24, C37)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_learning.representations.frame_models import CLASSIFIER, predict, read_frame_model
from apprentice_learning.rewards.bundle_source import BundleSource

THRESHOLD = 0.5
"""ours (4.5): the reward is 1 from this probability on, else 0"""


class ClassifierReward(BundleSource):
    """`<task>`: 1 or 0 at THRESHOLD, with the probability beside it; `<task>_prob`: the probability as the reward (4.5, option).

    Neither is terminal and neither claims success: a false positive must not end an episode or mark itself right.
    """

    name = "classifier"

    def __init__(self, bundle: Path | str, device: str = "cpu"):
        """BundleError when the folder holds no classifier of this release, or one trained behind other image code."""
        torch.set_num_threads(1)
        self.path = Path(bundle)
        manifest, network, self.model_id = read_frame_model(self.path, CLASSIFIER)
        super().__init__(manifest)
        self.network = network.to(torch.device(device))

    def probability(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """name -> [N, ...] gives float32 [N] in [0, 1]; ValueError names an array that is missing or of another form."""
        self.tensors(observation)
        return predict(self.network, np.ascontiguousarray(observation[self.inputs[0]]), self.inputs[0])

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """Reads the next observation only."""
        p = self.probability(batch.next_observation)
        no, valid = np.zeros(len(p), dtype=bool), np.isfinite(p)
        return {
            self.task: RewardResult((p >= THRESHOLD).astype(np.float32), p, valid, no, no),
            f"{self.task}_prob": RewardResult(p, p, valid, no, no),
        }
