"""Action values and state values: feed-forward (specs 001b section 0, 001c) and recurrent with a distribution (spec 000 section 2.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.mlp import EnsembleMLP, mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.recurrent import LayerNormLSTM, State
from apprentice_learning.networks.vector_input import VectorInput

Input: TypeAlias = Tensor | Mapping[str, Tensor]
GOAL_ERROR = (VectorInput("tool/pose", 0, 3), VectorInput("goal/position", 0, 3))
"""tool position and commanded goal, m, base frame"""
ERROR_SCALE = 0.01
"""ours: metres that count as 1, one action"""


class TwinEncoder(nn.Module):
    """An encoder of its own for each of the two critics (spec 001c section 3.4): observation -> [2, B, size].

    With `error` the critics also see (x - x*) / 1 cm, tool position minus commanded goal, which the policy may not see
    (`critic_gets_x`, spec 001c section 3.2).
    """

    def __init__(self, specs: Sequence[ArraySpec], config: NetworkConfig, error: bool = False):
        super().__init__()
        self.encoders = nn.ModuleList(ObservationEncoder(specs, config) for _ in range(2))
        self.error = error
        known = {s.name: s for s in specs}
        if error and {v.size(known, "critic_gets_x") for v in GOAL_ERROR} != {3}:
            raise ConfigError("network", "critic_gets_x", f"{GOAL_ERROR[1].array} is no position")
        self.size = self.encoders[0].size + 3 * error
        self.inputs = tuple(dict.fromkeys((*config.arrays, *(v.array for v in GOAL_ERROR if error))))

    def one(self, observation: Mapping[str, Tensor], member: int = 0) -> Tensor:
        """[B, size]: what one of the critics reads."""
        features = self.encoders[member](observation)
        if not self.error:
            return features
        position, goal = (v.of(observation) for v in GOAL_ERROR)
        return torch.cat((features, (position - goal) / ERROR_SCALE), dim=-1)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.one(observation, member) for member in range(2)])


class TwinQ(nn.Module):
    """Two independent Q on concat(s, a), evaluated together: (input, action [B, A]) -> [2, B].

    A tensor is a feature vector already (vector observations, or an encoder that someone else owns or has run). An encoder may give each
    critic features of its own, [2, B, F].
    """

    def __init__(self, features: int, actions: int, hidden: Sequence[int], encoder: nn.Module | None = None):
        super().__init__()
        self.encoder = encoder
        self.heads = EnsembleMLP(2, (features + actions, *hidden, 1))

    def forward(self, x: Input, action: Tensor) -> Tensor:
        return self.value(x if isinstance(x, Tensor) or self.encoder is None else self.encoder(x), action)

    def value(self, features: Tensor, action: Tensor) -> Tensor:
        """Both Q from features [B, F] or [2, B, F]: [2, B]."""
        if features.dim() == 3:
            action = action.expand(len(features), *action.shape)
        return self.heads(torch.cat((features, action), dim=-1)).squeeze(-1)

    def first(self, x: Input, action: Tensor) -> Tensor:
        """Q_1 alone [B]; the gradient runs to the action only (what a deterministic policy gradient needs)."""
        with torch.no_grad():
            features = x if self.encoder is None else self.encoder.one(x) if isinstance(self.encoder, TwinEncoder) else self.encoder(x)
        return self.heads.first(torch.cat((features, action), dim=-1)).squeeze(-1)


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
