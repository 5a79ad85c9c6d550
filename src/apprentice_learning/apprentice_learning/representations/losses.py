"""L_DAIB of one encoder (spec 001c eq. 52-54), and whether a latent tells domains apart (C13)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from apprentice_learning.algorithms.learner import adam
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.representations.config import RepresentationConfig
from apprentice_learning.representations.split import Latent, reverse_gradient

NO_DOMAIN = -1
"""label of a frame that belongs to no training domain: the adversary leaves it out"""


class RepresentationLoss(nn.Module):
    """Adversary and information cost of an encoder; owns the domain classifier F_psi.

    One mechanism, reversal: the domain loss (52) is *added*, F_psi descends it at full weight, and its gradient reaches the encoder once
    reversed, times adv_weight and the ramped lambda_adv. With `config.adversary`, F_psi first takes steps of its own on the newest latents,
    by `optimiser`, which whoever owns this loss keeps with its own (None otherwise).
    """

    remembered: Tensor
    remembered_domain: Tensor

    def __init__(self, invariant: int, domains: int, config: RepresentationConfig, steps: int):
        """`invariant`: size of z_I over all cameras; `steps`: over which ramp and warm-up run. ValueError without two domains."""
        super().__init__()
        self.config, self.steps = config, steps
        self.classifier: nn.Module | None = None
        if config.adversarial:
            if domains < 2:
                raise ValueError(f"{config.method}: an adversary needs at least two domains, got {domains}")
            slope = 0.0 if config.adversary is None else config.adversary.slope
            self.classifier = mlp((invariant, *config.hidden, domains), config.dropout, slope)
        self.optimiser: torch.optim.Optimizer | None = None
        if self.classifier is not None and config.adversary is not None:
            self.optimiser = adam(self.classifier.parameters(), config.adversary.learning_rate)
            self.register_buffer("remembered", torch.zeros(config.adversary.memory, invariant))
            self.register_buffer("remembered_domain", torch.full((config.adversary.memory,), NO_DOMAIN))

    def lambda_adv(self, step: int) -> float:
        p = min(step / self.steps, 1.0)
        return 2.0 / (1.0 + math.exp(-self.config.adv_ramp * p)) - 1.0

    def kl_weight(self, step: int) -> float:
        warm = self.config.kl_warmup * self.steps
        return self.config.kl_weight * (min(step / warm, 1.0) if warm else 1.0)

    def forward(self, latents: Sequence[Latent], domain: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """(the term to add to a loss that is minimised, its parts). domain: int64 [B]."""
        kl = torch.stack([x.kl() for x in latents]).sum()
        total = self.kl_weight(step) * kl
        parts = {"kl": kl.detach()}
        known = domain != NO_DOMAIN
        if self.classifier is not None and bool(known.any()):
            invariant = torch.cat([x.invariant for x in latents], dim=-1)[known]
            self._keep_up(invariant.detach(), domain[known])
            logits = self.classifier(reverse_gradient(invariant, self.config.adv_weight * self.lambda_adv(step)))
            loss = functional.cross_entropy(logits, domain[known])
            total = total + loss
            parts |= {"domain_loss": loss.detach(), "domain_accuracy": (logits.argmax(-1) == domain[known]).float().mean()}
        return total, parts

    def _keep_up(self, invariant: Tensor, domain: Tensor) -> None:
        """F_psi's own steps, on the newest latents that the encoder has given."""
        settings = self.config.adversary
        if self.classifier is None or self.optimiser is None or settings is None or not (self.training and torch.is_grad_enabled()):
            return
        keep = settings.memory
        self.remembered = torch.cat((self.remembered, invariant))[-keep:]
        self.remembered_domain = torch.cat((self.remembered_domain, domain))[-keep:]
        rows = torch.nonzero(self.remembered_domain != NO_DOMAIN).squeeze(-1)
        for _ in range(settings.updates):
            pick = rows[torch.randint(len(rows), (min(settings.batch, len(rows)),), device=rows.device)]
            loss = functional.cross_entropy(self.classifier(self.remembered[pick]), self.remembered_domain[pick])
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def domain_probe(latent: Tensor, domain: Tensor, seed: int = 0, weight_decay: float = 1e-2) -> tuple[float, float]:
    """(accuracy of a fresh linear probe on the half of the rows that it has not seen, chance = share of the commonest domain there).

    The probe is a logistic regression fitted by L-BFGS (C13). The latent [N, d] is scaled as a whole: dimension by dimension, traces of a
    domain that are too small for any head to read would count like the rest. ValueError below four rows.
    """
    if len(latent) < 4:
        raise ValueError(f"{len(latent)} rows are too few for a probe")
    order = torch.randperm(len(latent), generator=torch.Generator().manual_seed(seed))
    x = latent.detach().float()
    x = x - x.mean(0)
    x = x / x.square().mean().sqrt().clamp(min=1e-6)
    _, y = torch.unique(domain, return_inverse=True)
    fit, held = order[: len(order) // 2], order[len(order) // 2 :]
    probe = nn.Linear(x.shape[1], int(y.max()) + 1)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimiser = torch.optim.LBFGS(probe.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(probe(x[fit]), y[fit]) + weight_decay * probe.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        accuracy = float((probe(x[held]).argmax(-1) == y[held]).float().mean())
    return accuracy, float(torch.bincount(y[held]).max()) / len(held)
