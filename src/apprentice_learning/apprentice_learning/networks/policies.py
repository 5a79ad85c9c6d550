"""Policies: Gaussian (spec 001b section 0 and C.5), deterministic and tanh-Gaussian (spec 001c sections 2.3 and 3.4), and a deterministic
recurrent one (spec 000 section 2.9)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.recurrent import LayerNormLSTM, State

LOG_STD_RANGE = (-5.0, 2.0)
"""released code (IQL)"""
TANH_LOG_STD_RANGE = (-20.0, 2.0)
"""released code (rlkit's SAC)"""
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


class TanhGaussianHead(nn.Module):
    """Features [B, F] -> tanh(x), x ~ N(mean, std), both from one MLP (spec 001c section 3.4)."""

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int]):
        super().__init__()
        self.body = mlp((inputs, *hidden, 2 * actions))

    def forward(self, features: Tensor) -> Tensor:
        """The deterministic action tanh(mean) [B, A]."""
        return torch.tanh(self.spread(features)[0])

    def spread(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log std) before the tanh, each [B, A]."""
        mean, log_std = self.body(features).chunk(2, dim=-1)
        return mean, log_std.clamp(*TANH_LOG_STD_RANGE)

    def sample(self, features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """(action [B, A], log pi(action) [B]) for standard normal z [B, A]; the gradient runs through both (reparametrised)."""
        mean, log_std = self.spread(features)
        return squashed(mean, log_std, z)


def squashed(mean: Tensor, log_std: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """tanh(x) and its log-density at x = mean + std z: log N(x) - sum_j log(1 - tanh^2(x_j)).

    log(1 - tanh^2 x) = 2 (log 2 - x - softplus(-2 x)), which stays finite where tanh rounds to 1.
    """
    x = torch.addcmul(mean, log_std.exp(), z)
    # Per dimension -z^2/2 - log_std - log(2 pi)/2 - 2 (log 2 - x - softplus(-2x)); the constants are added once, at the end.
    terms = torch.add(2.0 * (x + F.softplus(-2.0 * x)) - log_std, z.square(), alpha=-0.5)
    return torch.tanh(x), terms.sum(-1) - (HALF_LOG_2PI + 2.0 * math.log(2.0)) * x.shape[-1]


class FeedForwardPolicy(nn.Module, ABC):
    """Observation -> action [B, A] in [-1, 1] that the head gives without dice. What one observation decides alone."""

    state_reset_period = 0
    head: nn.Module

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__()
        self.specs, self.actions, self.config = tuple(specs), actions, config
        self.encoder = ObservationEncoder(specs, config)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.config.arrays

    def initial_state(self, batch: int) -> State:
        return ()

    def step(self, observation: Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        """As a recurrent policy's, without memory."""
        return self(observation), state

    @abstractmethod
    def sample_noise(self, observation: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """What a sample adds to the deterministic action, [B, A], for standard normal z [B, A]."""

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.encoder(observation))


class PolicyNetwork(FeedForwardPolicy):
    """Gaussian around tanh(MLP) with a state-independent spread `head.log_std`."""

    head: GaussianHead

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__(specs, actions, config)
        self.head = GaussianHead(self.encoder.size, actions, config.hidden, config.dropout)

    def sample_noise(self, observation: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return self.head.log_std.detach().exp() * z


class DeterministicPolicy(FeedForwardPolicy):
    """tanh(MLP), no spread of its own: what explores is added from outside (spec 001c section 2.3)."""

    head: nn.Sequential

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__(specs, actions, config)
        self.head = nn.Sequential(*mlp((self.encoder.size, *config.hidden, actions), config.dropout), nn.Tanh())

    def zero_last_layer(self) -> None:
        """From now on the action is exactly 0 everywhere: a residual that leaves its base alone (spec 001c A9)."""
        _zero(self.head[-2])

    def sample_noise(self, observation: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return torch.zeros_like(z)


class TanhGaussianPolicy(FeedForwardPolicy):
    """tanh of a Gaussian whose mean and spread depend on the state; without dice tanh(mean) (spec 001c section 3.4)."""

    head: TanhGaussianHead

    def __init__(self, specs: Sequence[ArraySpec], actions: int, config: NetworkConfig):
        super().__init__(specs, actions, config)
        if config.dropout:
            raise ConfigError("network", "dropout", "a tanh-Gaussian policy has none")
        self.head = TanhGaussianHead(self.encoder.size, actions, config.hidden)

    def zero_last_layer(self, std: float) -> None:
        """From now on tanh(mean) is exactly 0 everywhere and the spread before the tanh is `std`."""
        last = self.head.body[-1]
        _zero(last)
        with torch.no_grad():
            last.bias[self.actions :] = math.log(std)

    def sample_noise(self, observation: Mapping[str, Tensor], z: Tensor) -> Tensor:
        features = self.encoder(observation)
        return self.head.sample(features, z)[0] - self.head(features)


@torch.no_grad()
def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()


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
        return self.config.arrays

    def sample_noise(self, observation: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return torch.zeros_like(z)

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
