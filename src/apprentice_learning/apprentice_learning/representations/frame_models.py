"""What is learned of single frames: whether they show success (section 4.3), and where the socket is (section 4.6, C31)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from apprentice_core.bundle import ArraySpecModel, BundleManifest, bundle_id, read_bundle, write_bundle
from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam
from apprentice_learning.bundles import build_network
from apprentice_learning.data.augmentation import JitterConfig, jitter_and_crop
from apprentice_learning.networks.mlp import mlp
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.representations.array_trainer import ArrayTrainer
from apprentice_learning.representations.config import RepresentationConfig
from apprentice_learning.representations.dataset import CAMERA, TrainingSet
from apprentice_learning.representations.losses import RepresentationLoss
from apprentice_learning.representations.preprocessing import check_fingerprint, fingerprint
from apprentice_learning.rewards.reward_network import RewardNetwork

CLASSIFIER, LOCALISER = "success_classifier/1", "socket_localiser/1"
"""change whenever the same description would build another network"""
CHUNK = 256
OFFSET_SCALE = 0.02
"""m; ours: the widest start of section 4.6, so that the regressor's targets are of order 1"""


class FrameModelConfig(Strict):
    """One training run on frames."""

    representation: RepresentationConfig = RepresentationConfig()
    camera: str = CAMERA
    image_reduction: int = Field(1, ge=1, le=8, description="ours: side of the box filter before the encoder")
    seed: int = Field(0, ge=0)
    steps: int = Field(20_000, ge=1, description="ours: updates; ramp and warm-up run over them")
    batch: int = Field(256, ge=2, description="ours (4.3)")
    learning_rate: float = Field(3e-4, gt=0, description="ours (4.3): Adam")
    augment: bool = Field(True, description="chapter 10: offline data are augmented")
    checkpoint_every: int = Field(1000, ge=1)
    log_every: int = Field(100, ge=1)

    @property
    def network(self) -> NetworkConfig:
        r = self.representation
        return NetworkConfig(
            cameras=(self.camera,), encoder="split", split=r.split, hidden=r.hidden, dropout=r.dropout, image_reduction=self.image_reduction
        )


class Localiser(nn.Module):
    """Observation (dict of [B, ...]) -> socket minus tool in x and y, metres [B, 2]."""

    def __init__(self, specs: tuple[ArraySpec, ...], config: NetworkConfig):
        super().__init__()
        self.config, self.specs = config, tuple(s for s in specs if s.name in config.cameras)
        self.encoder = ObservationEncoder(specs, config)
        self.head = mlp((self.encoder.size, *config.hidden, 2), config.dropout)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        return OFFSET_SCALE * self.head(self.encoder(observation))


class BalancedRows:
    """Draws rows: a group uniformly, then one of its positives or negatives, half and half (rebalancing per connector, C11)."""

    def __init__(self, rows: np.ndarray, positive: np.ndarray, group: np.ndarray):
        """Arrays [n]. ApprenticeError when a group lacks positives or negatives."""
        _, group = np.unique(group, return_inverse=True)
        key = 2 * group + positive.astype(np.int64)
        order = np.argsort(key, kind="stable")
        self.groups = int(group.max()) + 1
        self.rows = rows[order]
        self.counts = np.bincount(key, minlength=2 * self.groups)
        self.first = np.concatenate(([0], np.cumsum(self.counts)[:-1]))
        if (self.counts == 0).any():
            raise ApprenticeError("each training connector needs frames with success and frames without")

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """n rows, every second one positive."""
        key = 2 * generator.integers(0, self.groups, n) + np.arange(n) % 2
        return self.rows[self.first[key] + (generator.random(n) * self.counts[key]).astype(np.int64)]


def frame_specs(data_frames: np.ndarray, camera: str) -> tuple[ArraySpec, ...]:
    return (ArraySpec(camera, tuple(data_frames.shape[1:]), "uint8"),)


class _FrameTrainer(ArrayTrainer):
    """Encoder with its own loss, a head, and a loss of the task."""

    network: RewardNetwork | Localiser
    jitter = JitterConfig()

    def __init__(self, config: FrameModelConfig, training: TrainingSet, build: type[RewardNetwork] | type[Localiser], device: str = "cpu"):
        super().__init__(config, training, config.seed, device)
        self.config = config
        r = config.representation
        self.network = build(frame_specs(training.data.frames, config.camera), config.network)
        self.extra = RepresentationLoss(r.split.invariant, len(training.domains), r, config.steps)
        self.network.to(self.device)
        self.extra.to(self.device)
        self.optimisers = {"model": adam([*self.network.parameters(), *self.extra.parameters()], config.learning_rate)}
        if self.extra.optimiser is not None:
            self.optimisers["adversary"] = self.extra.optimiser
        self.modules = {"model": self.network}
        if self.extra.classifier is not None:
            self.modules = {**self.modules, "representation": self.extra}

    @abstractmethod
    def _rows(self) -> np.ndarray:
        """Of the next batch."""

    @abstractmethod
    def _task_loss(self, output: Tensor, rows: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, metrics) of the network's output on these rows."""

    def update(self) -> dict[str, Tensor]:
        self.network.train()
        self.extra.train()
        data, rows = self.training.data, self._rows()
        frames = data.frames[rows]
        if self.config.augment:
            frames = jitter_and_crop(frames, self.generator, self.jitter)
        features, latents = self.network.encoder.encode({self.config.camera: torch.from_numpy(frames).to(self.device)})
        loss, metrics = self._task_loss(self.network.head(features), rows)
        extra, parts = self.extra(latents, torch.from_numpy(self.training.domain[rows]).to(self.device), self.step)
        optimiser = self.optimisers["model"]
        optimiser.zero_grad(set_to_none=True)
        (loss + extra).backward()
        optimiser.step()
        self.step += 1
        return metrics | parts

    def train(self, folder: Path | None = None) -> dict[str, float]:
        """To the config's last step."""
        return self.run(self.config.steps, folder, self.config.checkpoint_every, self.config.log_every)


class RewardTrainer(_FrameTrainer):
    """The success classifier R of L_R (eq. 54), trained on rows rebalanced per connector."""

    network: RewardNetwork

    def __init__(self, config: FrameModelConfig, training: TrainingSet, device: str = "cpu"):
        super().__init__(config, training, RewardNetwork, device)
        data, rows = training.data, training.rows
        index = np.unique([e.connector for e in data.episodes], return_inverse=True)[1]
        self.sampler = BalancedRows(rows, data.success[rows], index[data.frame_episode][rows])

    def _rows(self) -> np.ndarray:
        return self.sampler.sample(self.config.batch, self.generator)

    def _task_loss(self, output: Tensor, rows: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        logits, label = output.squeeze(-1), torch.from_numpy(self.training.data.success[rows]).float().to(self.device)
        loss = functional.binary_cross_entropy_with_logits(logits, label)  # (51)
        return loss, {"reward_loss": loss.detach(), "accuracy": ((logits > 0) == (label > 0.5)).float().mean()}


class LocaliserTrainer(_FrameTrainer):
    """Least squares of the socket's offset, on frames whose offset is known.

    Frames change their colours only: a crop would change the millimetres that a pixel stands for, and the label not.
    """

    network: Localiser
    jitter = JitterConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0))

    def __init__(self, config: FrameModelConfig, training: TrainingSet, device: str = "cpu"):
        super().__init__(config, training, Localiser, device)
        self.known = training.rows[np.isfinite(training.data.offset[training.rows]).all(axis=1)]
        if not len(self.known):
            raise ApprenticeError("no frame says where the socket is: episodes need the socket's pose and the tool's")

    def _rows(self) -> np.ndarray:
        return self.known[self.generator.integers(0, len(self.known), self.config.batch)]

    def _task_loss(self, output: Tensor, rows: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        error = output - torch.from_numpy(self.training.data.offset[rows]).to(self.device) / OFFSET_SCALE
        return error.square().sum(-1).mean(), {"error_m": OFFSET_SCALE * error.detach().norm(dim=-1).mean()}


@torch.inference_mode()
def predict(network: nn.Module, frames: np.ndarray, camera: str = CAMERA) -> np.ndarray:
    """The network's outputs for uint8 [N, H, W, 3], in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    pieces = [network({camera: torch.from_numpy(frames[i : i + CHUNK]).to(device)}).cpu() for i in range(0, len(frames), CHUNK)]
    return torch.cat(pieces).numpy()


def write_frame_model(folder: Path, trainer: RewardTrainer | LocaliserTrainer, name: str, lineage: Mapping[str, object] = {}) -> str:
    """A bundle of kind reward (classifier) or detector (localiser); returns its id. Training connectors and domains are in its lineage."""
    network, training = trainer.network, trainer.training
    classifier = isinstance(network, RewardNetwork)
    return write_bundle(
        folder,
        {k: v.detach().cpu().contiguous().numpy() for k, v in network.state_dict().items()},
        kind="reward" if classifier else "detector",
        name=name,
        algorithm=trainer.config.representation.method if classifier else "localiser",
        observation=tuple(ArraySpecModel(name=s.name, shape=s.shape, dtype=s.dtype, unit=s.unit) for s in network.specs),
        network={
            "type": CLASSIFIER if classifier else LOCALISER, "task": name, "preprocessing": fingerprint(),
            "config": network.config.model_dump(mode="json"),
        },
        config=trainer.config.model_dump(mode="json"),
        lineage={
            "connectors": list(training.connectors), "domains": [f"{d.connector}@{d.robot}" for d in training.domains],
            "seed": trainer.config.seed, "step": trainer.step, **lineage,
        },
    )


def read_frame_model(folder: Path, kind: str) -> tuple[BundleManifest, RewardNetwork | Localiser, str]:
    """(manifest, network in evaluation mode, bundle id) of type `kind`, CLASSIFIER or LOCALISER; BundleError names what is wrong, image
    code other than the one that it was trained behind included."""
    manifest, tensors = read_bundle(folder)
    where = folder / "bundle.json"
    if manifest.network.get("type") != kind:
        raise BundleError(f"{where}: network.type: is {manifest.network.get('type')!r}, not {kind!r}")
    check_fingerprint(manifest.network.get("preprocessing"), str(where))
    if not isinstance(manifest.network.get("task"), str):
        raise BundleError(f"{where}: network.task: {manifest.network.get('task')!r} is not a name")
    network: RewardNetwork | Localiser
    if kind == CLASSIFIER:
        network = build_network(folder, manifest, tensors, RewardNetwork)
    else:
        network = build_network(folder, manifest, tensors, Localiser)
    return manifest, network, bundle_id(manifest)


class SocketLocaliser:
    """A localiser's bundle at work, for the base controllers of section 4.6."""

    def __init__(self, bundle: Path | str):
        """BundleError when the folder holds no localiser of this release."""
        torch.set_num_threads(1)
        self.manifest, self.network, self.model_id = read_frame_model(Path(bundle), LOCALISER)
        self.spec = self.network.specs[0]

    def localise(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] as recorded -> socket minus tool in x and y, metres, float64 [2]; ValueError for another form."""
        if image.shape != self.spec.shape or image.dtype != np.uint8:
            raise ValueError(f"image: {image.dtype} {image.shape}, the localiser reads uint8 {self.spec.shape}")
        return predict(self.network, np.ascontiguousarray(image)[None], self.spec.name)[0].astype(np.float64)
