"""What a trained split latent still tells of its domain, and whether the adversary that should have removed it is at work (C13)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from apprentice_learning.data.augmentation import jitter_and_crop
from apprentice_learning.representations.evaluation import latents
from apprentice_learning.representations.frame_models import RewardTrainer
from apprentice_learning.representations.losses import domain_probe


@dataclass(frozen=True)
class ProbeReport:
    """Shares of frames whose training domain is named right, in 0 to 1; NaN for a part that the method lacks.

    invariant, specific: by fresh linear probes of z_I and z_S, on frames as they are; invariant_augmented: of z_I of augmented frames,
    which is what the adversary sees in training. adversary: by F_psi itself, of the same. dead: the share of units in F_psi's last hidden
    layer that no frame excites; where all are dead, nothing of the domain loss reaches the encoder. scale: root mean square of z_I about
    its mean.
    """

    domains: int
    chance: float
    invariant: float
    specific: float
    invariant_augmented: float
    adversary: float
    dead: float
    scale: float


def adversary_health(classifier: nn.Module, invariant: Tensor, domain: Tensor) -> tuple[float, float]:
    """(accuracy of F_psi, share of units of its last hidden layer that none of the rows excites), in evaluation mode. invariant: [N, I].
    Leaky units always pass some gradient on: none of them counts as dead."""
    classifier.eval()
    hidden, dead = invariant, 0.0
    with torch.inference_mode():
        for layer in classifier.children():
            hidden = layer(hidden)
            if isinstance(layer, nn.ReLU):
                dead = float((hidden <= 0).all(0).float().mean())
    return float((hidden.argmax(-1) == domain).float().mean()), dead


def probe_report(trainer: RewardTrainer, rows: int = 4000, seed: int = 0) -> ProbeReport:
    """On `rows` training frames drawn by `seed`; half of them fit the probes, the others are counted."""
    training, camera = trainer.training, trainer.config.camera
    generator = np.random.default_rng([seed, 13])
    pick = generator.permutation(training.rows)[:rows]
    frames, domain = training.data.frames[pick], torch.from_numpy(training.domain[pick])
    plain = latents(trainer.network, frames, camera)
    z, augmented = plain.invariant, latents(trainer.network, jitter_and_crop(frames, generator), camera).invariant

    def probe(x: Tensor) -> tuple[float, float]:
        return domain_probe(x.clone(), domain, seed) if x.shape[1] else (math.nan, math.nan)

    invariant, specific, seen = (probe(x) for x in (z, plain.mean, augmented))
    adversary, dead = math.nan, math.nan
    if trainer.extra.classifier is not None:
        adversary, dead = adversary_health(trainer.extra.classifier.cpu(), augmented, domain)
        trainer.extra.classifier.to(trainer.device)
    return ProbeReport(
        domains=len(training.domains), chance=specific[1] if math.isnan(invariant[1]) else invariant[1], invariant=invariant[0],
        specific=specific[0], invariant_augmented=seen[0], adversary=adversary, dead=dead,
        scale=float((z - z.mean(0)).square().mean().sqrt()) if z.shape[1] else math.nan,
    )
