"""What a split latent is and how it is trained (spec 001c section 4.3)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from apprentice_core.config import Strict

Method = Literal["erm", "vib", "dann", "daib", "daib_lambda0"]
METHOD_NAMES: tuple[Method, ...] = ("daib", "vib", "daib_lambda0", "erm", "dann")
"""In the order of Table 8."""


class SplitConfig(Strict):
    """Trunk and latent z = (z_I, z_S) of one camera. Without z_S nothing is specific, without z_I nothing is invariant."""

    channels: tuple[int, ...] = Field((32, 64, 128, 128), min_length=1, max_length=8, description="ours (4.3): filters, 3x3, stride 2")
    width: int = Field(256, ge=1, le=4096, description="ours (4.3): the layer behind the convolutions")
    invariant: int = Field(64, ge=0, le=1024, description="ours (4.3): size of z_I, deterministic")
    specific: int = Field(16, ge=0, le=1024, description="ours (4.3): size of z_S")
    bottleneck: bool = Field(True, description="z_S is Gaussian and pays for information; false: deterministic")

    @model_validator(mode="after")
    def _something(self) -> SplitConfig:
        if not self.invariant + self.specific:
            raise ValueError("invariant and specific are both 0: the latent is empty")
        if self.bottleneck and not self.specific:
            raise ValueError("bottleneck: there is no specific part that could be one")
        return self


FLAGS: dict[str, dict[str, Any]] = {
    "erm": {"invariant": 80, "specific": 0, "bottleneck": False},
    "vib": {"invariant": 0, "specific": 80, "bottleneck": True},
    "dann": {"invariant": 80, "specific": 0, "bottleneck": False},
    "daib": {"invariant": 64, "specific": 16, "bottleneck": True},
    "daib_lambda0": {"invariant": 64, "specific": 16, "bottleneck": False},
}
"""All latents have 80 numbers (ours), so that methods differ in their losses alone."""
ADVERSARIAL = {"dann", "daib", "daib_lambda0"}


class RepresentationConfig(Strict):
    """L_DAIB = L_adv + kl_weight KL (eq. 54); the method says which of the two there are."""

    method: Method = Field("daib", description="which flags: split, bottleneck, adversary")
    channels: tuple[int, ...] = Field((32, 64, 128, 128), min_length=1, max_length=8, description="ours (4.3)")
    adv_weight: float = Field(1.0, ge=0, description="ours (4.4: eq. 54 has none): times the ramped lambda_adv; on the encoder alone")
    adv_ramp: float = Field(10.0, gt=0, description="DANN's schedule: lambda_adv(p) = 2 / (1 + exp(-10 p)) - 1")
    kl_weight: float = Field(1e-3, ge=0, description="ours (4.3): beta of eq. 54; not the temperature of AWR")
    kl_warmup: float = Field(0.2, ge=0, le=1, description="ours (4.3): share of the steps over which kl_weight rises from 0")
    hidden: tuple[int, ...] = Field((128, 128), description="ours (4.3): of the domain classifier, and of heads on the latent")
    dropout: float = Field(0.1, ge=0, lt=1, description="ours (4.3): in those heads")

    @property
    def split(self) -> SplitConfig:
        return SplitConfig(channels=self.channels, **FLAGS[self.method])

    @property
    def adversarial(self) -> bool:
        return self.method in ADVERSARIAL


SMALL_CHANNELS = (16, 32, 64, 64)
"""preset `small` (ours, for a CPU): a quarter of the multiply-adds"""
