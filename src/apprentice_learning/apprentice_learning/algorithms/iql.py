"""Implicit Q-learning (spec 001b section C): equations in C.2, order of updates in C.4, defaults in C.5; with split latents, whose loss
joins that of each network, and frozen encoders (spec 001c sections 4.4, 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from apprentice_core.config import Strict
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam, copy_frozen, cosine, pack, set_learning_rate, soft_update, unpack
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.critics import Input, TwinQ, Value
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.policies import PolicyNetwork
from apprentice_learning.representations.heads import DOMAIN, HeadRepresentations, stored_name

ROLES = ("policy", "value", "critic")
ACTION_BOUND = 1.0 - 1e-5
"""released code: data-set actions are clipped to it"""


class IQLConfig(Strict):
    """Spec 001b C.5."""

    expectile: float = Field(0.7, gt=0, lt=1, description="tau. paper: 0.7 locomotion, 0.9 AntMaze, 0.8 hand")
    awr_inv_temp: float = Field(3.0, ge=0, description="inverse temperature. paper: 3 locomotion, 10 AntMaze, 0.5 Kitchen; 0 is BC")
    weight_clip: float = Field(100.0, gt=0, description="paper")
    gamma: float = Field(0.99, gt=0, le=1, description="released code")
    learning_rate: float = Field(3e-4, gt=0, description="paper, all three networks")
    target_rate: float = Field(0.005, gt=0, le=1, description="alpha. paper")
    cosine_steps: int = Field(0, ge=0, description="paper: actor's rate falls to 0 over the offline steps; 0: constant")
    encoder: Literal["separate", "policy"] = Field(
        "separate", description="paper: separate, each network has its own; policy (ours): one, trained by the policy loss alone"
    )
    representation: HeadRepresentations | None = Field(None, description="chapter 10: split latents; with network.encoder `split`")
    freeze_online: bool = Field(False, description="chapter 10: true; in the phase `online` encoders stand still and latents are means")


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
        heads = config.representation
        if heads is None and network.encoder == "split":
            raise ConfigError("learner", "settings.representation", "the encoder `split` needs to know its method and its domains")
        networks = dict.fromkeys(ROLES, network) if heads is None else {r: heads.network(r, network) for r in ROLES}
        self.actor = PolicyNetwork(specs, actions, networks["policy"])
        # An encoder without weights computes the same for everyone: evaluated once, whatever the config says.
        self.shared = config.encoder == "policy" or not self.actor.encoder.trainable

        def own(role: str) -> ObservationEncoder | None:
            return None if self.shared else ObservationEncoder(specs, networks[role])

        def size(encoder: ObservationEncoder | None) -> int:
            return (encoder or self.actor.encoder).size

        encoders = {r: own(r) for r in ("value", "critic")}
        self.value = Value(size(encoders["value"]), network.hidden, encoders["value"])
        self.critic = TwinQ(size(encoders["critic"]), actions, network.hidden, encoders["critic"])
        self.target = copy_frozen(self.critic)
        trained: dict[str, nn.Module] = {"value": self.value, "policy": self.actor, "critic": self.critic}
        self.extra = {} if heads is None else {r: heads.loss(r) for r in trained if r == "policy" or not self.shared}
        self.optimisers = {
            r: adam(chain(m.parameters(), self.extra[r].parameters() if r in self.extra else ()), config.learning_rate)
            for r, m in trained.items()
        }
        self.optimisers |= {f"{r}_adversary": m.optimiser for r, m in self.extra.items() if m.optimiser is not None}
        self.modules: dict[str, nn.Module] = {"policy": self.actor, "value": self.value, "critic": self.critic, "target": self.target}
        self.modules |= {f"{r}_representation": m for r, m in self.extra.items() if next(m.parameters(), None) is not None}
        self.steps = 0
        self.phase = "offline"

    def _step(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        for module in (*self.modules.values(), *self.extra.values()):
            if not module.training:  # the walk over all submodules costs as much as a small network's forward pass
                module.train()
        train_value, train_policy = self.phase != "policy", self.phase != "value"
        action = batch.action.clamp(-ACTION_BOUND, ACTION_BOUND)
        metrics: dict[str, Tensor] = {}
        features, now, after = self._inputs(batch, train_policy, train_value, metrics)
        policy_extra = metrics.pop("policy/extra", 0.0)

        with torch.no_grad():
            q = torch.amin(self.target(now, action), 0)
        if train_value:
            value_loss = expectile_loss(q - self.value(self._features("value", self.value.encoder, now, metrics)), c.expectile).mean()
            self._step("value", value_loss + metrics.pop("value/extra", 0.0))
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
            weight = torch.exp(c.awr_inv_temp * advantage).clamp_(max=c.weight_clip)
            mean = self.actor.head(features)
            policy_loss = -(weight * self.actor.head.log_prob(mean, action)).mean()
            self._step("policy", policy_loss + policy_extra)
            metrics |= {
                "policy_loss": policy_loss.detach(), "weight": weight.mean(), "clipped": (weight >= c.weight_clip).float().mean(),
                "action_error": (mean.detach() - action).square().sum(-1).mean(),
            }

        if train_value:
            bellman = batch.reward + c.gamma * batch.discount * v_next
            predicted = self.critic(self._features("critic", self.critic.encoder, now, metrics), action)
            critic_loss = (bellman - predicted).square().mean(1).sum()
            self._step("critic", critic_loss + metrics.pop("critic/extra", 0.0))
            assert isinstance(self.target, TwinQ)
            frozen = isinstance(self.critic.encoder, ObservationEncoder) and self.critic.encoder.frozen
            soft_update(self.target.heads if frozen else self.target, self.critic.heads if frozen else self.critic, c.target_rate)
            metrics |= {"critic_loss": critic_loss.detach(), "q": q.mean(), "v": v.mean(), "advantage_std": advantage.std()}
        self.steps += 1
        return metrics

    def _features(self, role: str, encoder: nn.Module | None, x: Input, metrics: dict[str, Tensor]) -> Tensor:
        """What the head of `role` reads of `x`. The loss of its encoder's latent (58), where it has one and learns, is put into `metrics`
        as `<role>/extra`: whoever takes the step takes it out again."""
        if not isinstance(encoder, ObservationEncoder):
            assert isinstance(x, Tensor)
            return x
        assert not isinstance(x, Tensor)
        if role not in self.extra or encoder.frozen or not torch.is_grad_enabled():
            return encoder(x)
        features, latents = encoder.encode(x)
        metrics[f"{role}/extra"], parts = self.extra[role](latents, x[DOMAIN], self.steps)
        metrics |= {f"{role}/{k}": v for k, v in parts.items()}
        return features

    def _inputs(
        self, batch: Batch, train_policy: bool, train_value: bool, metrics: dict[str, Tensor]
    ) -> tuple[Tensor, Input, Input]:
        """(features for the policy with gradient, input of V and Q at s, and at s')."""
        encoder = self.actor.encoder
        if not self.shared:
            features = self._features("policy", encoder, batch.observation, metrics) if train_policy else torch.empty(0)
            return features, batch.observation, batch.next_observation
        with torch.set_grad_enabled(train_policy):
            features = self._features("policy", encoder, batch.observation, metrics)
        with torch.no_grad():
            after = encoder(batch.next_observation) if train_value else features
        return features, features.detach(), after

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        for module in self.modules.values():
            module.eval()
        features, now, after = self._inputs(batch, True, True, {})
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
        if phase == "online" and self.config.freeze_online:
            self.freeze_encoders()

    def freeze_encoders(self) -> None:
        """Encoders stand still from here on and give mean latents; observations may then hold their features under
        `stored_name(role)`. The target critic takes the critic's encoder at once, which is where following a still one would end."""
        if isinstance(self.critic.encoder, ObservationEncoder):
            assert isinstance(self.target, TwinQ) and self.target.encoder is not None
            self.target.encoder.load_state_dict(self.critic.encoder.state_dict())
        owners: dict[str, nn.Module] = {"policy": self.actor, "value": self.value, "critic": self.critic, "target": self.target}
        for role, owner in owners.items():
            if isinstance(owner.encoder, ObservationEncoder):
                owner.encoder.freeze(stored_name("critic" if role == "target" else role))

    def encoders(self) -> dict[str, ObservationEncoder]:
        """The encoder of each role that has one of its own."""
        owners: dict[str, nn.Module] = {"policy": self.actor, "value": self.value, "critic": self.critic}
        return {r: m.encoder for r, m in owners.items() if isinstance(m.encoder, ObservationEncoder)}

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.modules, self.optimisers, self.steps)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.steps = unpack(state, self.modules, self.optimisers)
        if self.actor.encoder.frozen:
            self.freeze_encoders()
