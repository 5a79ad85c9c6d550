"""The loss of the reward model (spec 000 section 2.7): pairs within an episode are ranked, success is bounded from both sides."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from apprentice_core.config import Strict


class SketchLossConfig(Strict):
    """The constants of the loss."""

    mu_s: float = Field(0.2, ge=0, description="paper: a pair counts where its sketches differ by more")
    mu_r: float = Field(0.1, ge=0, description="paper: by so much the better frame is to score above the other")
    tau_s: float = Field(0.85, gt=0, lt=1, description="paper: sketched above it a frame is successful, below it is not")
    tau_r1: float = Field(0.9, gt=0, le=1, description="paper: a successful frame is to score at least this")
    tau_r2: float = Field(0.7, ge=0, lt=1, description="paper: an unsuccessful frame is to score at most this")
    success_weight: float = Field(10.0, ge=0, description="paper: lambda")


def rank_loss(reward: Tensor, sketch: Tensor, config: SketchLossConfig) -> Tensor:
    """Mean of max(0, r(x_t) - r(x_q) + mu_r) over all ordered pairs of frames of one episode with s(x_q) - s(x_t) > mu_s.

    reward and sketch: float32 [E, F], a row an episode. Scalar; 0 when no pair counts.
    """
    counts = (sketch.unsqueeze(1) - sketch.unsqueeze(2)) > config.mu_s  # [E, t, q]
    hinge = (reward.unsqueeze(2) - reward.unsqueeze(1) + config.mu_r).clamp_min(0.0)
    return (hinge * counts).sum() / counts.sum().clamp_min(1)


def success_loss(reward: Tensor, sketch: Tensor, config: SketchLossConfig) -> Tensor:
    """Mean over frames of max(0, tau_r1 - r) where s > tau_s and max(0, r - tau_r2) where s < tau_s; any shape. Scalar."""
    good = (config.tau_r1 - reward).clamp_min(0.0) * (sketch > config.tau_s)
    bad = (reward - config.tau_r2).clamp_min(0.0) * (sketch < config.tau_s)
    return (good + bad).mean()


def sketch_loss(reward: Tensor, sketch: Tensor, config: SketchLossConfig) -> tuple[Tensor, Tensor, Tensor]:
    """(L, L_rank, L_success) with L = L_rank + lambda L_success; reward and sketch [E, F]."""
    rank, success = rank_loss(reward, sketch, config), success_loss(reward, sketch, config)
    return rank + config.success_weight * success, rank, success
