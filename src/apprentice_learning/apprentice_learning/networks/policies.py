"""Policies: a Gaussian one (spec 001b section 0 and C.5) and a deterministic recurrent one (spec 000 section 2.9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.recurrent import LayerNormLSTM, State

LOG_STD_RANGE = (-5.0, 2.0)
"""released code (IQL)"""
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Spread(nn.Module):
    """A state-independent log-std [A], clamped to [-5, 2], around a mean that somebody else computes."""

    def __init__(self, actions: int):
        super().__init__()
        self.log_std_parameter = nn.Parameter(torch.zeros(actions))

    @property
    def log_std(self) -> Tensor:
        return self.log_std_parameter.clamp(*LOG_STD_RANGE)

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """Log N(action; mean, std), un-squashed and diagonal: [..., A] and [..., A] -> [...]."""
        log_std = self.log_std
        z = (action - mean) * torch.exp(-log_std)
        return -0.5 * z.square().sum(-1) - log_std.sum() - HALF_LOG_2PI * action.shape[-1]


class GaussianHead(Spread):
    """Features [B, F] -> mean tanh(MLP) [B, A], and its spread."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int], dropout: float = 0.0):
        super().__init__(actions)
        self.body = mlp((inputs, *hidden, actions), dropout)

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.body(features))


class PolicyNetwork(nn.Module):
    """Observation -> mean action [B, A] in [-1, 1]; `head.log_std` gives the spread for sampling."""

    state_reset_period = 0

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__()
        self.specs, self.actions, self.config = tuple(specs), actions, config
        self.encoder = ObservationEncoder(specs, config)
        self.head = GaussianHead(self.encoder.size, actions, config.hidden, config.dropout)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.config.cameras, *self.config.proprio)

    @property
    def std(self) -> Tensor:
        """Spread of a sampled action around the mean [A]."""
        return self.head.log_std.detach().exp()

    def initial_state(self, batch: int) -> State:
        return ()

    def step(self, observation: Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        """As a recurrent policy's, without memory."""
        return self(observation), state

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.encoder(observation))


class RecurrentPolicy(nn.Module):
    """Encoder, layer-normalised LSTMs of `config.hidden` units, linear, tanh (spec 000 section 2.9). Deterministic.

    The state is of the actor alone and reads observations only, so that it is the same whoever drives. When acting it goes back to zero
    every `state_reset_period` steps (0: only at the start of an episode).
    """

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig, state_reset_period: int = 0):
        super().__init__()
        if config.dropout:
            raise ConfigError("network", "dropout", "recurrent networks have none")
        self.state_reset_period = state_reset_period
        self.specs, self.actions, self.config = tuple(specs), actions, config
        self.encoder = ObservationEncoder(specs, config)
        self.core = LayerNormLSTM(self.encoder.size, config.hidden)
        self.head = nn.Linear(config.hidden[-1], actions)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.config.cameras, *self.config.proprio)

    @property
    def std(self) -> Tensor:
        return torch.zeros(self.actions)

    def initial_state(self, batch: int) -> State:
        return self.core.initial_state(batch)

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Arrays [T, B, ...] -> features [T, B, F]."""
        t, b = next(iter(observation.values())).shape[:2]
        return self.encoder({n: observation[n].flatten(0, 1) for n in self.inputs}).view(t, b, -1)

    def actor_parameters(self) -> list[nn.Parameter]:
        """What the policy gradient reaches: all but the encoder (spec 000 section 8)."""
        return [*self.core.parameters(), *self.head.parameters()]

    def act(self, features: Tensor) -> Tensor:
        """Features [T, B, F] -> actions [T, B, A], from a zero state."""
        return torch.tanh(self.head(self.core(features)[0]))

    def step(self, observation: Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        """Arrays [B, ...] -> action [B, A] and the next state."""
        output, after = self.core.step(self.encoder(observation), state)
        return torch.tanh(self.head(output)), after

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Arrays [T, B, ...] -> actions [T, B, A]."""
        return self.act(self.encode(observation))
