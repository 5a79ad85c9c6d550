"""The reward model at work: one class for the reward node, relabelling and the sampler (contract 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_learning.rewards.bundle_source import BundleSource
from apprentice_learning.rewards.bundles import read_reward

CHUNK = 32
"""frames of one forward pass on a CPU (ours): more gain nothing there, and their feature maps leave the cache"""
CHUNK_GPU = 512


class SketchReward(BundleSource):
    """r_psi(x_t) as the reward of step t, raw (spec 000 section 2.7), the mean of the members of an ensemble.

    It never claims success: whether an episode succeeded is judged by people or by the task, or else a delusion would mark itself right.
    """

    name = "sketch"

    def __init__(self, bundle: Path | str, device: str = "cpu"):
        """BundleError when the folder holds no reward model of this release."""
        torch.set_num_threads(1)
        self.path = Path(bundle)
        manifest, members, self.model_id = read_reward(self.path)
        super().__init__(manifest)
        self.device = torch.device(device)
        self.members = members.to(self.device, memory_format=torch.channels_last)
        self.chunk = CHUNK if self.device.type == "cpu" else CHUNK_GPU

    @torch.inference_mode()
    def predict(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """name -> [N, ...] gives float32 [N, members] in [0, 1]. ValueError names an array that is missing or of another form."""
        tensors = self.tensors(observation)
        count = len(next(iter(tensors.values())))
        out = torch.empty((count, len(self.members)))
        for start in range(0, count, self.chunk):
            piece = {n: t[start : start + self.chunk].to(self.device, non_blocking=True) for n, t in tensors.items()}
            for k, member in enumerate(self.members):
                out[start : start + self.chunk, k] = member(piece).cpu()
        return out.numpy()

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """`<task>`, and for an ensemble `<task>_spread`, the standard deviation over its members. Invalid where a number is not finite."""
        values = self.predict(batch.observation)
        n = len(values)
        no, unknown = np.zeros(n, dtype=bool), np.full(n, np.nan)

        def result(value: np.ndarray) -> RewardResult:
            return RewardResult(value.astype(np.float32), unknown, np.isfinite(value), no, no)

        out = {self.task: result(values.mean(axis=1))}
        if values.shape[1] > 1:
            out[f"{self.task}_spread"] = result(values.std(axis=1))
        return out
