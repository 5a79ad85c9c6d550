"""r_psi(x) in [0, 1] (spec 000 section 2.7): the agent's kind of encoder, a head and a sigmoid; no recurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder


class RewardNetwork(nn.Module):
    """Observation (dict of [B, ...]) -> reward [B] in [0, 1]. Residual encoder with spatial softmax per camera, beside proprioception."""

    def __init__(self, specs: Sequence[ArraySpec], config: NetworkConfig):
        super().__init__()
        self.config = config
        reads = set(self.inputs)
        self.specs = tuple(s for s in specs if s.name in reads)
        self.encoder = ObservationEncoder(specs, config)
        self.head = mlp((self.encoder.size, *config.hidden, 1), config.dropout)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.config.arrays

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return torch.sigmoid(self.head(self.encoder(observation)).squeeze(-1))
