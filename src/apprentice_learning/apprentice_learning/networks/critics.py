"""Action values and state values: feed-forward (spec 001b section 0) and recurrent with a distribution (spec 000 section 2.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from apprentice_learning.networks.mlp import EnsembleMLP, mlp
from apprentice_learning.networks.recurrent import LayerNormLSTM, State

Input: TypeAlias = Tensor | Mapping[str, Tensor]


class TwinQ(nn.Module):
    """Two independent Q on concat(s, a), evaluated together: (input, action [B, A]) -> [2, B].

    A tensor is a feature vector already (vector observations, or an encoder that someone else owns or has run).
    """

    def __init__(self, features: int, actions: int, hidden: Sequence[int], encoder: nn.Module | None = None):
        super().__init__()
        self.encoder = encoder
        self.heads = EnsembleMLP(2, (features + actions, *hidden, 1))

    def forward(self, x: Input, action: Tensor) -> Tensor:
        features = x if isinstance(x, Tensor) or self.encoder is None else self.encoder(x)
        return self.heads(torch.cat((features, action), dim=-1)).squeeze(-1)


class Value(nn.Module):
    """V(s): input, or its features -> [B]."""

    def __init__(self, features: int, hidden: Sequence[int], encoder: nn.Module | None = None):
        super().__init__()
        self.encoder = encoder
        self.body = mlp((features, *hidden, 1))

    def forward(self, x: Input) -> Tensor:
        return self.body(x if isinstance(x, Tensor) or self.encoder is None else self.encoder(x)).squeeze(-1)


class RecurrentCritic(nn.Module):
    """linear(features) beside linear(action), linear, ReLU, layer-normalised LSTMs, value head (spec 000 section 2.9).

    The head gives logits over `atoms` values from v_min to v_max; with one atom it gives the value itself (the scalar ablation).
    """

    support: Tensor

    def __init__(self, features: int, actions: int, width: int, units: Sequence[int], atoms: int, v_min: float, v_max: float):
        super().__init__()
        self.atoms = atoms
        self.of_features, self.of_action = nn.Linear(features, width), nn.Linear(actions, width)
        self.mix = nn.Linear(2 * width, width)
        self.core = LayerNormLSTM(width, units)
        self.head = nn.Linear(units[-1], atoms)
        self.register_buffer("support", torch.linspace(v_min, v_max, atoms), persistent=False)

    def _inputs(self, features: Tensor, action: Tensor) -> Tensor:
        return torch.relu(self.mix(torch.cat((self.of_features(features), self.of_action(action)), dim=-1)))

    def forward(self, features: Tensor, action: Tensor) -> tuple[Tensor, State]:
        """[T, B, F] and [T, B, A] -> head's output [T, B, atoms] and the states after each step, from a zero state."""
        output, after = self.core(self._inputs(features, action))
        return self.head(output), after

    def one_step(self, features: Tensor, action: Tensor, state: State) -> Tensor:
        """The same, one step from each of the given states (any leading shape): [..., atoms]."""
        return self.head(self.core.step(self._inputs(features, action), state)[0])

    def value(self, output: Tensor) -> Tensor:
        """Q = sum_i z_i p_i: [..., atoms] -> [...]."""
        return output.squeeze(-1) if self.atoms == 1 else torch.softmax(output, dim=-1) @ self.support
