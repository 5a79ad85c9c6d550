"""Gaussian policy (spec 001b section 0 and C.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder

LOG_STD_RANGE = (-5.0, 2.0)
"""released code (IQL)"""
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class GaussianHead(nn.Module):
    """Features [B, F] -> mean tanh(MLP) [B, A] and a state-independent log-std [A], clamped to [-5, 2]."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int], dropout: float = 0.0):
        super().__init__()
        self.body = mlp((inputs, *hidden, actions), dropout)
        self.log_std_parameter = nn.Parameter(torch.zeros(actions))

    @property
    def log_std(self) -> Tensor:
        return self.log_std_parameter.clamp(*LOG_STD_RANGE)

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.body(features))

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """Log N(action; mean, std) [B], un-squashed and diagonal."""
        log_std = self.log_std
        z = (action - mean) * torch.exp(-log_std)
        return -0.5 * z.square().sum(-1) - log_std.sum() - HALF_LOG_2PI * action.shape[-1]


class PolicyNetwork(nn.Module):
    """Observation -> mean action [B, A] in [-1, 1]; `head.log_std` gives the spread for sampling."""

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__()
        self.specs, self.actions, self.config = tuple(specs), actions, config
        self.encoder = ObservationEncoder(specs, config)
        self.head = GaussianHead(self.encoder.size, actions, config.hidden, config.dropout)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.config.cameras, *self.config.proprio)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.encoder(observation))
