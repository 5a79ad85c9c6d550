"""Multi-layer perceptrons: one network, or several of one shape evaluated together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ORTHOGONAL_GAIN = math.sqrt(2.0)
"""released code: every layer of the IQL networks starts orthogonal with this gain"""


def orthogonal_(layer: nn.Linear, gain: float = ORTHOGONAL_GAIN) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(sizes: Sequence[int], dropout: float = 0.0, slope: float = 0.0) -> nn.Sequential:
    """[B, sizes[0]] -> [B, sizes[-1]]; ReLU hidden layers (leaky ones with a `slope`), linear last layer (spec 001b section 0)."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers.append(orthogonal_(nn.Linear(a, b)))
        if i < len(sizes) - 2:
            layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class EnsembleMLP(nn.Module):
    """`members` independent MLPs in one batched product per layer: [B, in], or one input each [members, B, in], -> [members, B, out].

    The same numbers as separate MLPs; one call instead of many, because on small networks the calls are what costs.
    """

    def __init__(self, members: int, sizes: Sequence[int]):
        super().__init__()
        self.members, self.sizes = members, tuple(sizes)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(sizes):
            weight = torch.empty(members, a, b)
            for member in weight:
                nn.init.orthogonal_(member, ORTHOGONAL_GAIN)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, b)))

    def forward(self, x: Tensor) -> Tensor:
        h = x if x.dim() == 3 else x.unsqueeze(0).expand(self.members, *x.shape)
        last = len(self.sizes) - 2
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.shape[2] == 1:  # a batched product with one column is several times slower than this sum
                h = (h * weight.transpose(1, 2)).sum(-1, keepdim=True) + bias
            else:
                h = torch.baddbmm(bias, h, weight)
            if i < last:
                h = h.relu_()
        return h

    def first(self, x: Tensor) -> Tensor:
        """The first member alone: [B, in] -> [B, out]; its weights are constants here, the gradient runs to `x`."""
        last = len(self.sizes) - 2
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.addmm(bias.detach()[0], x, weight.detach()[0])
            if i < last:
                x = x.relu_()
        return x
