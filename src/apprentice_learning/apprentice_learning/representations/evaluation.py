"""How well a success classifier judges connectors that it has never seen (C12), what its latents know of domains (C13), and Table 8."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from apprentice_core.errors import ApprenticeError
from apprentice_core.statistics import mean_interval
from apprentice_learning.representations.config import METHOD_NAMES, SMALL_CHANNELS, Method, RepresentationConfig
from apprentice_learning.representations.dataset import ConnectorData, TrainingSet
from apprentice_learning.representations.frame_models import CHUNK, FrameModelConfig, RewardTrainer, predict
from apprentice_learning.representations.losses import domain_probe
from apprentice_learning.representations.registry import ConnectorRegistry
from apprentice_learning.representations.split import Latent
from apprentice_learning.rewards.reward_network import RewardNetwork

THRESHOLD = 0.5
THESIS_ACCURACY = {"daib": 0.88, "vib": 0.79, "daib_lambda0": 0.77, "erm": 0.76, "dann": 0.71}
"""Table 8"""
PRESETS: dict[str, dict[str, Any]] = {
    "full": {"batch": 256, "steps": 20_000},
    "small": {"batch": 64, "steps": 4_000, "representation": {"channels": SMALL_CHANNELS}},
}
"""ours. `full` is section 4.3 at the data's own size (128 px there); `small` is for a CPU at 64 px."""


@dataclass(frozen=True)
class ConnectorAccuracy:
    """On as many positives as negatives of one connector. false_positive_rate: share of its negatives that are taken for success."""

    connector: str
    frames: int
    accuracy: float
    false_positive_rate: float


@dataclass(frozen=True)
class RewardReport:
    """Held-out accuracy of one model; means are over connectors."""

    method: str
    seed: int
    connectors: tuple[ConnectorAccuracy, ...]
    probe_invariant: float = math.nan
    probe_specific: float = math.nan
    probe_chance: float = math.nan

    @property
    def accuracy(self) -> float:
        return float(np.mean([c.accuracy for c in self.connectors]))

    @property
    def false_positive_rate(self) -> float:
        return float(np.mean([c.false_positive_rate for c in self.connectors]))


def balanced_rows(data: ConnectorData, connector: str, limit: int, seed: int) -> np.ndarray:
    """As many positive as negative frames of a connector, at most `limit` in all; ApprenticeError when it lacks either."""
    rows = data.rows_of([connector])
    positive, negative = rows[data.success[rows]], rows[~data.success[rows]]
    n = min(len(positive), len(negative), limit // 2)
    if not n:
        raise ApprenticeError(f"{connector}: needs frames with success and frames without to be tested on")
    generator = np.random.default_rng([seed, 7])
    return np.concatenate([generator.permutation(positive)[:n], generator.permutation(negative)[:n]])


def held_out_accuracy(
    network: RewardNetwork, data: ConnectorData, connectors: Sequence[str], camera: str, limit: int = 2000, seed: int = 0
) -> tuple[ConnectorAccuracy, ...]:
    """Each connector rebalanced to half and half (C11)."""
    out = []
    for connector in connectors:
        rows = balanced_rows(data, connector, limit, seed)
        said, truth = predict(network, data.frames[rows], camera) >= THRESHOLD, data.success[rows]
        out.append(ConnectorAccuracy(connector, len(rows), float((said == truth).mean()), float(said[~truth].mean())))
    return tuple(out)


@torch.inference_mode()
def latents(network: RewardNetwork, frames: np.ndarray, camera: str) -> Latent:
    """Mean latents of frames, in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    pieces = (torch.from_numpy(frames[i : i + CHUNK]).to(device) for i in range(0, len(frames), CHUNK))
    parts = [network.encoder.encode({camera: piece})[1][0] for piece in pieces]

    def joined(name: str) -> torch.Tensor:
        return torch.cat([getattr(p, name) for p in parts]).cpu()

    return Latent(joined("invariant"), joined("mean"), None, joined("mean"))


def probe_domains(trainer: RewardTrainer, rows: int = 4000, seed: int = 0) -> tuple[float, float, float]:
    """(accuracy of a fresh linear probe of the training domain on z_I, on z_S, chance); NaN for a part that the method lacks (C13)."""
    pick = np.random.default_rng([seed, 13]).permutation(trainer.training.rows)[:rows]
    z = latents(trainer.network, trainer.training.data.frames[pick], trainer.config.camera)
    domain = torch.from_numpy(trainer.training.domain[pick])
    found = [domain_probe(x.clone(), domain, seed) if x.shape[1] else (math.nan, math.nan) for x in (z.invariant, z.mean)]
    chance = next(c for _, c in found if not math.isnan(c))
    return found[0][0], found[1][0], chance


def reward_config(method: Method, seed: int, preset: str, **changes: Any) -> FrameModelConfig:
    """The run of `method` under a preset (`small`, `full`), `changes` laid over it (also those of `representation`, field by field);
    ApprenticeError for another preset."""
    if preset not in PRESETS:
        raise ApprenticeError(f"no preset {preset!r}; known: {', '.join(PRESETS)}")
    fields = {**PRESETS[preset], **changes}
    parts = [given.get("representation", {}) for given in (PRESETS[preset], changes)]
    fields["representation"] = RepresentationConfig.model_validate({**parts[0], **parts[1], "method": method})
    return FrameModelConfig(seed=seed, **fields)


@dataclass(frozen=True)
class RewardTable:
    """Table 8: `reports` hold every run; `rows` sum them up."""

    reports: tuple[RewardReport, ...]
    tested: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """By method: n seeds, mean accuracy over them with a 95 % t interval, false-positive rate, the thesis's value."""
        out = []
        for method in dict.fromkeys(r.method for r in self.reports):
            mine = [r for r in self.reports if r.method == method]
            accuracy = np.array([r.accuracy for r in mine])
            _, low, high = mean_interval(accuracy.tolist())
            out.append({
                "method": method, "n": len(mine), "accuracy": float(accuracy.mean()), "low": low, "high": high,
                "false_positive_rate": float(np.mean([r.false_positive_rate for r in mine])),
                "probe_invariant": float(np.mean([r.probe_invariant for r in mine])),
                "probe_specific": float(np.mean([r.probe_specific for r in mine])),
                "probe_chance": float(np.mean([r.probe_chance for r in mine])), "thesis": THESIS_ACCURACY[method],
            })
        return out

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows(), "runs": [asdict(r) for r in self.reports], "tested": {str(k): list(v) for k, v in self.tested.items()}}


def reward_accuracy(
    data: ConnectorData, registry: ConnectorRegistry, methods: Sequence[Method] = METHOD_NAMES, seeds: Sequence[int] = (0, 1, 2, 3, 4),
    preset: str = "small", train: int = 25, test: int = 5, device: str = "cpu",
    progress: Callable[[RewardReport], None] | None = None, **changes: Any,
) -> RewardTable:
    """Table 8 (C10-C13): every method on the same split of each seed; the split, the weights and the batches differ by seed.

    `changes` are fields of FrameModelConfig that lie over the preset, e.g. steps.
    """
    reports, tested = [], {}
    for seed in seeds:
        training_names, tested[seed] = registry.reward_split(data.connectors, train, test, seed)
        training = TrainingSet(data, registry, training_names)
        for method in methods:
            config = reward_config(method, seed, preset, **changes)
            trainer = RewardTrainer(config, training, device)
            trainer.train()
            if trainer.step < config.steps:
                raise KeyboardInterrupt
            accuracy = held_out_accuracy(trainer.network, data, tested[seed], config.camera, seed=seed)
            reports.append(RewardReport(method, seed, accuracy, *probe_domains(trainer, seed=seed)))
            if progress:
                progress(reports[-1])
    return RewardTable(tuple(reports), tested)
