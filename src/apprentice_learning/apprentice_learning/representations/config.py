"""What a split latent is and how it is trained (spec 001c section 4.3)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

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
    normalise: bool = Field(False, description="ours: z_I of each frame is scaled to mean 0 and variance 1 over its numbers")

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


class AdversaryConfig(Strict):
    """How the domain classifier keeps up with the encoder (ours, all of it: C13). Eq. 52 asks for the best F_psi there is; one that takes a
    single step for each of the encoder's is outrun, and then reads nothing that a fresh probe would."""

    slope: float = Field(0.2, gt=0, lt=1, description="ours: of its leaky units; a plain ReLU can be driven to where it never fires again")
    updates: int = Field(5, ge=1, description="ours: steps of its own before each step of the encoder")
    learning_rate: float = Field(1e-3, gt=0, description="ours: of those steps, Adam")
    memory: int = Field(512, ge=2, description="ours: newest latents that those steps draw from")
    batch: int = Field(256, ge=2, description="ours")


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
    normalise: bool = Field(False, description="ours (C13): see SplitConfig; in every method that has z_I, so that they stay comparable")
    adversary: AdversaryConfig | None = Field(None, description="ours (C13): none, F_psi takes one step with each of the encoder's")

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs from before these two fields were there keep their hash."""
        return {k: v for k, v in handler(self).items() if not (k in ("normalise", "adversary") and not v)}

    @property
    def split(self) -> SplitConfig:
        flags = FLAGS[self.method]
        return SplitConfig(channels=self.channels, normalise=self.normalise and flags["invariant"] > 0, **flags)

    @property
    def adversarial(self) -> bool:
        return self.method in ADVERSARIAL


SMALL_CHANNELS = (16, 32, 64, 64)
"""preset `small` (ours, for a CPU): a quarter of the multiply-adds"""
