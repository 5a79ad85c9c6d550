"""What TD3 and SAC share: twin critics on a policy's features or on encoders of their own, their update, and flat state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from apprentice_core.config import Strict
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam, copy_frozen, pack, unpack
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.critics import Input, TwinEncoder, TwinQ
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import FeedForwardPolicy


class ActorCriticConfig(Strict):
    """Settings that every off-policy actor-critic here has."""

    gamma: float = Field(0.99, gt=0, le=1, description="released code (spec 001c section 2.3)")
    tau: float = Field(0.005, gt=0, le=1, description="released code: part of the online weights that a target takes over")
    zero_init: bool = Field(True, description="ours: last layer of the policy starts at 0, so that a residual equals its base (A9)")
    critic_gets_x: bool = Field(
        False, description="ours: the critics, not the policy, also see tool position minus commanded goal (spec 001c section 3.2)"
    )


class ActorCritic:
    """Actions are residuals (or whole actions where there is no base), normalised to [-1, 1]; `discount` is 0 at true terminals alone.

    A policy whose encoder has no weights shares its features with the critics; otherwise each of the two critics has an encoder of its own.
    Phases: `offline` and `online` are the same update; what differs is where batches come from.
    """

    name: str
    phases: tuple[str, ...] = ("offline", "online")
    needs_next = True
    sequence = 0

    def __init__(
        self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, actor: FeedForwardPolicy, config: ActorCriticConfig
    ):
        self.actor, self.steps = actor, 0
        self.shared = not actor.encoder.trainable and not config.critic_gets_x
        encoder = None if self.shared else TwinEncoder(specs, network, config.critic_gets_x)
        size = actor.encoder.size if encoder is None else encoder.size
        self.critic = TwinQ(size, actions, network.hidden, encoder)
        self.target = copy_frozen(self.critic).eval()
        self.inputs: tuple[str, ...] = actor.inputs if encoder is None else encoder.inputs
        """arrays that a batch has to hold: the critics may read more than the policy"""
        self.modules: dict[str, nn.Module] = {"policy": self.actor, "critic": self.critic, "target": self.target}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}

    def _optimise(self, name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self.optimisers[name] = adam(parameters, learning_rate)

    def _train_mode(self) -> None:
        for module in (self.actor, self.critic):
            if not module.training:
                module.train()

    def _step(self, name: str, loss: Tensor, parameters: Sequence[Tensor] | None = None) -> None:
        """One step of an optimiser; with `parameters` nothing else is given a gradient."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        optimiser.step()

    def _inputs(self, batch: Batch) -> tuple[Input, Input]:
        """What the critics read at s and at s'. Shared features have no weights behind them, so they carry no gradient."""
        if not self.shared:
            return batch.observation, batch.next_observation
        with torch.no_grad():
            return self.actor.encoder(batch.observation), self.actor.encoder(batch.next_observation)

    def _features(self, policy: FeedForwardPolicy, x: Input) -> Tensor:
        """What a policy's head reads, from what the critics read."""
        return x if isinstance(x, Tensor) else policy.encoder(x)

    def _critic_loss(self, x: Input, action: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(sum over both critics of mean (Q_i - y)^2, Q [2, B])."""
        q = self.critic(x, action)
        return (q - y).square().mean(1).sum(), q

    def policy(self) -> FeedForwardPolicy:
        return self.actor

    def set_phase(self, phase: str) -> None:
        if phase not in self.phases:
            raise ValueError(f"{self.name} has no phase {phase!r}; known: {', '.join(self.phases)}")

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.modules, self.optimisers, self.steps)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.steps = unpack(state, self.modules, self.optimisers)
