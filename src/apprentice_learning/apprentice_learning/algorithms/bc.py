"""Behaviour cloning: maximum likelihood, or least squares, of the demonstrator's action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from apprentice_core.config import Strict
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam, cosine, pack, set_learning_rate, unpack
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import PolicyNetwork


class BCConfig(Strict):
    """Settings of behaviour cloning."""

    learning_rate: float = Field(3e-4, gt=0, description="paper (IQL's, spec 001b C.5)")
    weight_decay: float = Field(0.0, ge=0, description="ours: AdamW where > 0")
    loss: Literal["log_likelihood", "mse"] = Field("log_likelihood", description="paper: likelihood of spec 001b C.2 at beta 0")
    cosine_steps: int = Field(0, ge=0, description="ours: learning rate falls to 0 over so many updates; 0: constant")
    gradient_clip: float = Field(0.0, ge=0, description="ours: global norm; 0: none")


class BC:
    """-log pi(a|s), or |pi(s) - a|^2, averaged over the batch. One phase; reads no reward and no next observation."""

    name = "bc"
    phases: tuple[str, ...] = ("offline",)
    needs_next = False
    sequence = 0

    def __init__(self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, config: BCConfig):
        self.config = config
        self.network = PolicyNetwork(specs, actions, network)
        self.modules: dict[str, nn.Module] = {"policy": self.network}
        self.optimiser = adam(self.network.parameters(), config.learning_rate, config.weight_decay)
        self.steps = 0

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss, mean squared error of the mean action)."""
        mean = self.network(batch.observation)
        error = (mean - batch.action).square().sum(-1)
        loss = error if self.config.loss == "mse" else -self.network.head.log_prob(mean, batch.action)
        return loss.mean(), error.detach().mean()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        self.network.train()
        set_learning_rate(self.optimiser, self.config.learning_rate * cosine(self.steps, self.config.cosine_steps))
        loss, error = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimiser.step()
        self.steps += 1
        return {"loss": loss.detach(), "action_error": error}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        self.network.eval()
        loss, error = self.loss(batch)
        return {"loss": loss, "action_error": error}

    def policy(self) -> PolicyNetwork:
        return self.network

    def set_phase(self, phase: str) -> None:
        if phase not in self.phases:
            raise ValueError(f"bc has no phase {phase!r}; known: {', '.join(self.phases)}")

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.modules, {"policy": self.optimiser}, self.steps)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.steps = unpack(state, self.modules, {"policy": self.optimiser})
