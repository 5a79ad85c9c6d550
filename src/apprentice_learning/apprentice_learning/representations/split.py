"""The split encoder: image -> (z_I, z_S), and the reversal of gradients (spec 001c section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from apprentice_learning.networks.encoders import native_bfloat16, to_input
from apprentice_learning.representations.config import SplitConfig

LOG_VARIANCE = (-10.0, 4.0)
"""ours: beyond it exp() has no useful gradient"""


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.coefficient * gradients[0], None


def reverse_gradient(x: Tensor, coefficient: float) -> Tensor:
    """x itself; its gradient comes back times -coefficient."""
    return _Reverse.apply(x, coefficient)


@dataclass(frozen=True)
class Latent:
    """One batch: invariant [B, I]; mean [B, S]; log_variance [B, S], or None where z_S is deterministic; specific [B, S] as sampled."""

    invariant: Tensor
    mean: Tensor
    log_variance: Tensor | None
    specific: Tensor

    @property
    def z(self) -> Tensor:
        """concat(z_I, z_S) [B, I + S]: what heads read."""
        return torch.cat((self.invariant, self.specific), dim=-1)

    def kl(self) -> Tensor:
        """KL(p(z_S | x) || N(0, I)), summed over dimensions, mean over the batch; 0 without a bottleneck."""
        if self.log_variance is None:
            return self.mean.new_zeros(())
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance).sum(-1).mean()


class SplitEncoder(nn.Module):
    """uint8 [B, H, W, 3] -> z [B, I + S] in [-0.5, 0.5] pixels, strided convolutions, a dense layer and two linear heads.

    z_S is sampled in a training pass that carries gradients; everywhere else (targets, validation, acting, frozen) it is the mean.
    """

    bfloat16 = False

    def __init__(self, height: int, width: int, config: SplitConfig):
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs, h, w = 3, height, width
        for outputs in config.channels:
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            inputs, h, w = outputs, (h + 1) // 2, (w + 1) // 2
        self.body = nn.Sequential(*layers)
        self.dense = nn.Linear(inputs * h * w, config.width)
        self.of_invariant = nn.Linear(config.width, config.invariant) if config.invariant else None
        self.of_specific = nn.Linear(config.width, config.specific * (2 if config.bottleneck else 1)) if config.specific else None
        self.size = config.invariant + config.specific

    def latent(self, image: Tensor) -> Latent:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16 and native_bfloat16(image.device)):
            maps = self.body(to_input(image))
        h = torch.relu_(self.dense(maps.float().flatten(1)))
        nothing = h.new_zeros((len(h), 0))
        invariant = nothing if self.of_invariant is None else self.of_invariant(h)
        if self.config.normalise:
            # Else the encoder can win the game by the size of z_I alone, which says nothing of what is in it.
            invariant = functional.layer_norm(invariant, invariant.shape[1:])
        if self.of_specific is None:
            return Latent(invariant, nothing, None, nothing)
        if not self.config.bottleneck:
            mean = self.of_specific(h)
            return Latent(invariant, mean, None, mean)
        mean, log_variance = self.of_specific(h).chunk(2, dim=-1)
        log_variance = log_variance.clamp(*LOG_VARIANCE)
        specific = mean
        if self.training and torch.is_grad_enabled():
            specific = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return Latent(invariant, mean, log_variance, specific)

    def forward(self, image: Tensor) -> Tensor:
        return self.latent(image).z
