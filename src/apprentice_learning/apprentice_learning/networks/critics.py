"""Action values and state values on features or on observations (spec 001b section 0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from apprentice_learning.networks.mlp import EnsembleMLP, mlp

Input: TypeAlias = Tensor | Mapping[str, Tensor]


class TwinQ(nn.Module):
    """Two independent Q on concat(s, a), evaluated together: (input, action [B, A]) -> [2, B].

    `encoder` None: the input is a feature vector already (vector observations, or an encoder that someone else owns).
    """

    def __init__(self, features: int, actions: int, hidden: Sequence[int], encoder: nn.Module | None = None):
        super().__init__()
        self.encoder = encoder
        self.heads = EnsembleMLP(2, (features + actions, *hidden, 1))

    def forward(self, x: Input, action: Tensor) -> Tensor:
        features = x if self.encoder is None else self.encoder(x)
        return self.heads(torch.cat((features, action), dim=-1)).squeeze(-1)


class Value(nn.Module):
    """V(s): input -> [B]."""

    def __init__(self, features: int, hidden: Sequence[int], encoder: nn.Module | None = None):
        super().__init__()
        self.encoder = encoder
        self.body = mlp((features, *hidden, 1))

    def forward(self, x: Input) -> Tensor:
        return self.body(x if self.encoder is None else self.encoder(x)).squeeze(-1)
