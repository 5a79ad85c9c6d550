"""Implicit Q-learning (spec 001b section C): equations in C.2, order of updates in C.4, defaults in C.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from apprentice_core.config import Strict
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam, copy_frozen, cosine, pack, set_learning_rate, soft_update, unpack
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.critics import Input, TwinQ, Value
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.policies import PolicyNetwork

ACTION_BOUND = 1.0 - 1e-5
"""released code: data-set actions are clipped to it"""


class IQLConfig(Strict):
    """Spec 001b C.5."""

    expectile: float = Field(0.7, gt=0, lt=1, description="tau. paper: 0.7 locomotion, 0.9 AntMaze, 0.8 hand")
    beta: float = Field(3.0, ge=0, description="inverse temperature. paper: 3 locomotion, 10 AntMaze, 0.5 Kitchen; 0 is BC")
    weight_clip: float = Field(100.0, gt=0, description="paper")
    gamma: float = Field(0.99, gt=0, le=1, description="released code")
    learning_rate: float = Field(3e-4, gt=0, description="paper, all three networks")
    target_rate: float = Field(0.005, gt=0, le=1, description="alpha. paper")
    cosine_steps: int = Field(0, ge=0, description="paper: actor's rate falls to 0 over the offline steps; 0: constant")
    encoder: Literal["separate", "policy"] = Field(
        "separate", description="paper: separate, each network has its own; policy (ours): one, trained by the policy loss alone"
    )


def expectile_loss(difference: Tensor, tau: float) -> Tensor:
    """L2_tau(u) = |tau - 1{u < 0}| u^2, element by element."""
    return torch.where(difference < 0, 1.0 - tau, tau) * difference.square()


def join(a: Input, b: Input) -> Input:
    """Two inputs stacked along the batch, so that one forward pass serves both."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.cat((a, b))
    return {k: torch.cat((v, b[k])) for k, v in a.items()}  # type: ignore[union-attr, index]


class IQL:
    """Phases: `offline` trains all; `value` V and Q alone; `policy` extracts the policy afterwards; `online` as offline,
    without the cosine schedule (C.4, C.5, C.12 line 8).

    Q is evaluated at actions of the batch alone. The policy loss reaches neither V nor Q; with `encoder: policy` V and Q
    read the policy's features as constants.
    """

    name = "iql"
    phases: tuple[str, ...] = ("offline", "value", "policy", "online")
    needs_next = True
    sequence = 0

    def __init__(self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, config: IQLConfig):
        self.config = config
        self.actor = PolicyNetwork(specs, actions, network)
        size = self.actor.encoder.size
        # An encoder without weights computes the same for everyone: evaluated once, whatever the config says.
        self.shared = config.encoder == "policy" or not self.actor.encoder.trainable

        def own() -> ObservationEncoder | None:
            return None if self.shared else ObservationEncoder(specs, network)

        self.value = Value(size, network.hidden, own())
        self.critic = TwinQ(size, actions, network.hidden, own())
        self.target = copy_frozen(self.critic)
        self.optimisers = {
            "value": adam(self.value.parameters(), config.learning_rate),
            "policy": adam(self.actor.parameters(), config.learning_rate),
            "critic": adam(self.critic.parameters(), config.learning_rate),
        }
        self.modules: dict[str, nn.Module] = {"policy": self.actor, "value": self.value, "critic": self.critic, "target": self.target}
        self.steps = 0
        self.phase = "offline"

    def _step(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        for module in self.modules.values():
            module.train()
        train_value, train_policy = self.phase != "policy", self.phase != "value"
        action = batch.action.clamp(-ACTION_BOUND, ACTION_BOUND)
        features, now, after = self._inputs(batch, train_policy, train_value)
        metrics: dict[str, Tensor] = {}

        with torch.no_grad():
            q = torch.amin(self.target(now, action), 0)
        if train_value:
            value_loss = expectile_loss(q - self.value(now), c.expectile).mean()
            self._step("value", value_loss)
            metrics["value_loss"] = value_loss.detach()
        with torch.no_grad():
            if train_value:
                v, v_next = self.value(join(now, after)).chunk(2)
            else:
                v = self.value(now)
            advantage = q - v

        if train_policy:
            rate = c.learning_rate * (cosine(self.steps, c.cosine_steps) if self.phase != "online" else 1.0)
            set_learning_rate(self.optimisers["policy"], rate)
            weight = torch.exp(c.beta * advantage).clamp_(max=c.weight_clip)
            mean = self.actor.head(features)
            policy_loss = -(weight * self.actor.head.log_prob(mean, action)).mean()
            self._step("policy", policy_loss)
            metrics |= {
                "policy_loss": policy_loss.detach(), "weight": weight.mean(), "clipped": (weight >= c.weight_clip).float().mean(),
                "action_error": (mean.detach() - action).square().sum(-1).mean(),
            }

        if train_value:
            bellman = batch.reward + c.gamma * batch.discount * v_next
            critic_loss = (bellman - self.critic(now, action)).square().mean(1).sum()
            self._step("critic", critic_loss)
            soft_update(self.target, self.critic, c.target_rate)
            metrics |= {"critic_loss": critic_loss.detach(), "q": q.mean(), "v": v.mean(), "advantage_std": advantage.std()}
        self.steps += 1
        return metrics

    def _inputs(self, batch: Batch, train_policy: bool, train_value: bool) -> tuple[Tensor, Input, Input]:
        """(features for the policy with gradient, input of V and Q at s, and at s')."""
        encoder = self.actor.encoder
        if not self.shared:
            return encoder(batch.observation) if train_policy else torch.empty(0), batch.observation, batch.next_observation
        with torch.set_grad_enabled(train_policy):
            features = encoder(batch.observation)
        with torch.no_grad():
            after = encoder(batch.next_observation) if train_value else features
        return features, features.detach(), after

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        for module in self.modules.values():
            module.eval()
        features, now, after = self._inputs(batch, True, True)
        action = batch.action.clamp(-ACTION_BOUND, ACTION_BOUND)
        q, (v, v_next) = torch.amin(self.target(now, action), 0), self.value(join(now, after)).chunk(2)
        mean = self.actor.head(features)
        bellman = batch.reward + self.config.gamma * batch.discount * v_next
        return {
            "value_loss": expectile_loss(q - v, self.config.expectile).mean(),
            "critic_loss": (bellman - self.critic(now, action)).square().mean(1).sum(),
            "action_error": (mean - action).square().sum(-1).mean(), "q": q.mean(), "v": v.mean(),
        }

    def policy(self) -> PolicyNetwork:
        return self.actor

    def set_phase(self, phase: str) -> None:
        if phase not in self.phases:
            raise ValueError(f"iql has no phase {phase!r}; known: {', '.join(self.phases)}")
        self.phase = phase

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.modules, self.optimisers, self.steps)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.steps = unpack(state, self.modules, self.optimisers)
