"""SAC with an adaptive temperature (spec 001c section 3.4, checklist B14)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.actor_critic import ActorCritic, ActorCriticConfig
from apprentice_learning.algorithms.learner import soft_update
from apprentice_learning.algorithms.td3 import SATURATED
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.critics import Input
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import TanhGaussianPolicy


class SACConfig(ActorCriticConfig):
    """Spec 001c section 3.4 (`ours` unless the field says another origin)."""

    learning_rate: float = Field(3e-4, gt=0, description="ours: policy, critics and temperature")
    initial_temperature: float = Field(1.0, gt=0, description="released code (rlkit): log alpha starts at 0")
    initial_std: float = Field(1.0, gt=0, le=7.0, description="released code (rlkit): about 1, before the tanh; used with zero_init")
    target_entropy: float | None = Field(None, description="paper of SAC: None is minus the number of actions")


class Temperature(nn.Module):
    """alpha_T = exp(log alpha), learned."""

    def __init__(self, initial: float):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial)))


class SAC(ActorCritic):
    """Twin critics with an entropy bonus; tanh-Gaussian policy; the temperature keeps the policy's entropy at a target."""

    name = "sac"

    def __init__(self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, config: SACConfig):
        self.config = config
        actor = TanhGaussianPolicy(specs, actions, network)
        if config.zero_init:
            actor.zero_last_layer(config.initial_std)
        super().__init__(specs, actions, network, actor, config)
        self.head = actor.head
        self.target_entropy = -float(actions) if config.target_entropy is None else config.target_entropy
        self.temperature = Temperature(config.initial_temperature)
        self.modules["temperature"] = self.temperature
        # One optimiser for both, as their rates are one: a call of its own for a single number would cost as much as the policy's.
        self._of_policy = [*actor.parameters(), self.temperature.log_alpha]
        self._optimise("policy", self._of_policy, config.learning_rate)
        self._optimise("critic", self.critic.parameters(), config.learning_rate)

    @torch.no_grad()
    def bellman(self, batch: Batch, after: Input) -> Tensor:
        """y = r + gamma d (min_i Q'_i(s', a') - alpha log pi(a'|s')), a' fresh, without gradient [B]."""
        features = self._features(self.actor, after)
        action, log_prob = self.head.sample(features, torch.randn(len(features), self.actor.actions, device=features.device))
        value = torch.amin(self.target(after, action), 0) - self.temperature.log_alpha.exp() * log_prob
        return torch.addcmul(batch.reward, batch.discount, value, value=self.config.gamma)

    def policy_loss(self, now: Input) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(L_pi, L_alpha, metrics): mean(alpha log pi - min_i Q_i), reparametrised, alpha constant; -mean(alpha (log pi + H_target)),
        log pi constant."""
        features = self._features(self.actor, now)
        action, log_prob = self.head.sample(features, torch.randn(len(features), self.actor.actions, device=features.device))
        if isinstance(now, Tensor):
            critic_features = now
        else:
            with torch.no_grad():
                critic_features = self.critic.encoder(now)  # type: ignore[misc]
        q = torch.amin(self.critic.value(critic_features, action), 0).mean()
        alpha, mean_log_prob = self.temperature.log_alpha.exp(), log_prob.mean()
        loss = alpha.detach() * mean_log_prob - q
        temperature_loss = -alpha * (mean_log_prob.detach() + self.target_entropy)
        return loss, temperature_loss, {
            "policy_loss": loss.detach(), "q_policy": q.detach(), "entropy": -mean_log_prob.detach(), "alpha": alpha.detach(),
            "saturated": (action.detach().abs() > SATURATED).float().mean(),
        }

    def update(self, batch: Batch) -> dict[str, Tensor]:
        self._train_mode()
        now, after = self._inputs(batch)
        critic_loss, q = self._critic_loss(now, batch.action, self.bellman(batch, after))
        self._step("critic", critic_loss)
        loss, temperature_loss, metrics = self.policy_loss(now)
        # Neither reaches the other's parameters, so one backward pass serves both.
        self._step("policy", loss + temperature_loss, self._of_policy)
        soft_update(self.target, self.critic, self.config.tau)
        self.steps += 1
        return metrics | {"critic_loss": critic_loss.detach(), "q": q.detach().mean()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        self.actor.eval()
        self.critic.eval()
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            now, after = self._inputs(batch)
            critic_loss, q = self._critic_loss(now, batch.action, self.bellman(batch, after))
            action = self.head(self._features(self.actor, now))
        return {"critic_loss": critic_loss, "q": q.mean(), "action_error": (action - batch.action).square().sum(-1).mean()}
