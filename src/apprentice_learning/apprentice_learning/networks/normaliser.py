"""Normalisation of vectors by the statistics of a data set; part of the network, so that a bundle carries it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

STD_FLOOR = 1e-2
"""ours, SI units: below this spread an axis is sensor noise and is not blown up"""


class Normaliser(nn.Module):
    """clip((x - mean) / std, -clip, clip) over the last axis (spec 000 section 8: mean/std, clip 5)."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, size: int, clip: float = 5.0):
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("inverse_std", torch.ones(size))

    def fit(self, rows: np.ndarray) -> None:
        """Takes mean and spread of float [N, size]; ValueError on an empty, misshapen or non-finite array."""
        if rows.ndim != 2 or rows.shape[1] != self.mean.numel() or not len(rows):
            raise ValueError(f"normaliser of {self.mean.numel()} numbers cannot be fitted to shape {rows.shape}")
        mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise ValueError("normaliser: the data hold NaN or infinity")
        self.mean.copy_(torch.from_numpy(mean.astype(np.float32)))
        self.inverse_std.copy_(torch.from_numpy((1.0 / np.maximum(std, STD_FLOOR)).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) * self.inverse_std).clamp(-self.clip, self.clip)
