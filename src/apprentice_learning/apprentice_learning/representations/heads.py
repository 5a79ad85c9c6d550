"""Which latent each network of an actor-critic gets, and the names under which observations carry labels and stored features
(spec 001c sections 4.4, 4.5)."""

from __future__ import annotations

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.errors import ConfigError
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.representations.config import Method, RepresentationConfig
from apprentice_learning.representations.losses import RepresentationLoss

DOMAIN = "domain"
"""int64 [B] in a batch's observation: the domain label of L_DAIB. No network reads it."""


def stored_name(role: str) -> str:
    """Where an observation holds the features that the frozen encoder of `role` gave, float32 [B, size]."""
    return f"features/{role}"


class HeadRepresentations(Strict):
    """`representation:` of a learner: flags for each head (C18), all else shared."""

    policy: Method = Field("daib", description="chapter 10: daib; erm is a plain encoder (ablation of Table 7)")
    value: Method = Field("daib", description="chapter 10: daib")
    critic: Method = Field("daib", description="chapter 10: daib")
    domains: int = Field(ge=1, description="training domains, connector x robot")
    steps: int = Field(100_000, ge=1, description="ours (4.4): offline updates, over which ramp and warm-up run")
    common: RepresentationConfig = Field(RepresentationConfig(), description="weights, ramp, warm-up, sizes; its method is not read")

    def settings(self, role: str) -> RepresentationConfig:
        return self.common.model_copy(update={"method": getattr(self, role)})

    def network(self, role: str, network: NetworkConfig) -> NetworkConfig:
        """`network` with the split of the role's method; ConfigError when its encoder is another."""
        if network.encoder != "split":
            raise ConfigError("network", "encoder", f"a representation needs the encoder `split`, got {network.encoder!r}")
        return network.model_copy(update={"split": self.settings(role).split})

    def loss(self, role: str) -> RepresentationLoss:
        settings = self.settings(role)
        return RepresentationLoss(settings.split.invariant, self.domains, settings, self.steps)
