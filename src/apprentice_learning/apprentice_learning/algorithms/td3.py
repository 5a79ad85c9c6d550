"""TD3 (spec 001c section 2.3), and TD3 from demonstrations (section 3.4, [T5]): a cloning term that draws the actor to the demonstrator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.actor_critic import ActorCritic, ActorCriticConfig
from apprentice_learning.algorithms.learner import copy_frozen, soft_update
from apprentice_learning.data.batch import Batch, MixedBatch
from apprentice_learning.networks.critics import Input
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import DeterministicPolicy

SMOOTHING = {"standard": (0.2, 0.5), "released": (0.1, 0.1)}
"""std and clip of the noise on target actions: TD3's own, and the authors' released fork's (spec 001c A7)"""
SATURATED = 0.95
"""ours (spec 001c B25): from here on an action counts as saturated"""


class TD3Config(ActorCriticConfig):
    """Spec 001c section 2.3; the demonstration terms are section 3.4's."""

    actor_learning_rate: float = Field(1e-3, gt=0, description="released code")
    critic_learning_rate: float = Field(1e-3, gt=0, description="released code")
    policy_period: int = Field(2, ge=1, description="released code: critic updates between two of the policy and the targets")
    smoothing: Literal["standard", "released"] = Field(
        "standard", description="noise on target actions; standard (paper of TD3): 0.2 / 0.5; released code: 0.1 / 0.1"
    )
    critic_only_updates: int = Field(1000, ge=0, description="ours: so many first updates leave the policy as it is")
    q_weight: float = Field(1.0, gt=0, description="lambda1. paper (ch. 5): 1e-3 with demonstrations; ours: 1 without")
    cloning_weight: float = Field(0.0, ge=0, description="lambda2. paper (ch. 5): 1 / demonstrations a batch; ours: 0 without")
    q_filter: bool = Field(True, description="ours (paper leaves it open): clone only where Q(s, a_demo) > Q(s, pi(s))")


class TD3(ActorCritic):
    """Twin critics, the smaller target, delayed policy, smoothed target actions clipped to the action range."""

    name = "td3"

    def __init__(self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, config: TD3Config):
        self.config = config
        actor = DeterministicPolicy(specs, actions, network)
        if config.zero_init:
            actor.zero_last_layer()
        super().__init__(specs, actions, network, actor, config)
        self.target_actor = copy_frozen(actor).eval()
        self.modules["target_policy"] = self.target_actor
        self._optimise("policy", actor.parameters(), config.actor_learning_rate)
        self._optimise("critic", self.critic.parameters(), config.critic_learning_rate)
        self._of_policy = list(actor.parameters())

    def target_action(self, after: Input) -> Tensor:
        """clip(pi'(s') + clip(eps, -c, c), -1, 1), eps ~ N(0, std^2)."""
        std, clip = SMOOTHING[self.config.smoothing]
        action = self.target_actor.head(self._features(self.target_actor, after))
        return torch.randn_like(action).mul_(std).clamp_(-clip, clip).add_(action).clamp_(-1.0, 1.0)

    @torch.no_grad()
    def bellman(self, batch: Batch, after: Input) -> Tensor:
        """y = r + gamma d min_i Q'_i(s', a'), without gradient [B]."""
        q = torch.amin(self.target(after, self.target_action(after)), 0)
        return torch.addcmul(batch.reward, batch.discount, q, value=self.config.gamma)

    def cloning_loss(self, batch: Batch, now: Input, action: Tensor, demonstrations: Tensor) -> Tensor:
        """Sum over demonstrations of |pi(s) - a|^2 1[Q_1(s, a) > Q_1(s, pi(s))], the latter where the Q-filter is on. `action` is pi(s)."""
        error = (action - batch.action).square().sum(-1) * demonstrations
        if self.config.q_filter:
            with torch.no_grad():
                better = self.critic.first(now, batch.action) > self.critic.first(now, action)
            error = error * better
        return error.sum()

    def policy_loss(self, batch: Batch, now: Input) -> tuple[Tensor, dict[str, Tensor]]:
        """-lambda1 mean Q_1(s, pi(s)) + lambda2 L_BC, and metrics."""
        c = self.config
        action = self.actor.head(self._features(self.actor, now))
        q = self.critic.first(now, action).mean()
        loss = -c.q_weight * q
        flat = action.detach()
        metrics = {"q_policy": q.detach(), "saturated": (flat.abs() > SATURATED).float().mean()}
        if c.cloning_weight and isinstance(batch, MixedBatch):
            cloning = self.cloning_loss(batch, now, action, batch.prior)
            loss = loss + c.cloning_weight * cloning
            metrics["cloning_loss"] = cloning.detach()
        return loss, metrics | {"policy_loss": loss.detach()}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        self._train_mode()
        now, after = self._inputs(batch)
        y = self.bellman(batch, after)
        critic_loss, q = self._critic_loss(now, batch.action, y)
        self._step("critic", critic_loss)
        self.steps += 1
        metrics = {"critic_loss": critic_loss.detach(), "q": q.detach().mean()}
        if self.steps % self.config.policy_period == 0:
            if self.steps > self.config.critic_only_updates:
                loss, told = self.policy_loss(batch, now)
                self._step("policy", loss, self._of_policy)
                metrics |= told
            soft_update(self.target, self.critic, self.config.tau)
            soft_update(self.target_actor, self.actor, self.config.tau)
        return metrics

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        self.actor.eval()
        self.critic.eval()
        # What training draws must not depend on how often it is validated.
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            now, after = self._inputs(batch)
            critic_loss, q = self._critic_loss(now, batch.action, self.bellman(batch, after))
            action = self.actor.head(self._features(self.actor, now))
        return {"critic_loss": critic_loss, "q": q.mean(), "action_error": (action - batch.action).square().sum(-1).mean()}
