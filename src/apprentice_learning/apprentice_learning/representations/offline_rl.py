"""Offline IQL on frames of many connectors (spec 001c section 4.4), and the features of frozen encoders, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from apprentice_core.config import Strict
from apprentice_learning.algorithms.iql import IQL, IQLConfig
from apprentice_learning.bundles import write_policy
from apprentice_learning.data.augmentation import jitter_and_crop
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.representations.array_trainer import ArrayTrainer
from apprentice_learning.representations.config import SMALL_CHANNELS, Method, RepresentationConfig
from apprentice_learning.representations.dataset import CAMERA, TrainingSet
from apprentice_learning.representations.frame_models import CHUNK, frame_specs
from apprentice_learning.representations.heads import DOMAIN, HeadRepresentations, stored_name


class OfflineRLConfig(Strict):
    """Section 4.4; defaults there are ch. 7's where the field says so."""

    policy: Method = Field("daib", description="chapter 10: daib; erm for the ablation of Table 7")
    value: Method = Field("daib", description="chapter 10: daib")
    critic: Method = Field("daib", description="chapter 10: daib")
    shared_encoder: bool = Field(False, description="chapter 10: false, one for each network; true: ablation C17")
    representation: RepresentationConfig = Field(RepresentationConfig(), description="weights and sizes; its method is not read")
    camera: str = CAMERA
    image_reduction: int = Field(1, ge=1, le=8, description="ours: side of the box filter before the encoders")
    expectile: float = Field(0.8, gt=0, lt=1, description="tau. paper (ch. 7, hand)")
    awr_inv_temp: float = Field(3.0, ge=0, description="beta of AWR, multiplies. paper (ch. 7)")
    gamma: float = Field(0.99, gt=0, le=1, description="paper (ch. 4, 6, 11)")
    target_rate: float = Field(0.005, gt=0, le=1, description="paper (ch. 7)")
    learning_rate: float = Field(3e-4, gt=0, description="paper (ch. 7): Adam; the actor's falls as a cosine over the offline steps")
    hidden: tuple[int, ...] = Field((256, 256), description="paper (ch. 7)")
    batch: int = Field(256, ge=2, description="ours (4.4)")
    steps: int = Field(100_000, ge=1, description="ours (4.4): offline updates")
    augment: bool = Field(True, description="chapter 10: offline data are augmented")
    seed: int = Field(0, ge=0)
    checkpoint_every: int = Field(1000, ge=1)
    log_every: int = Field(100, ge=1)

    def learner(self, training: TrainingSet) -> IQL:
        """IQL with fresh networks for the training set; the caller seeds torch first."""
        heads = HeadRepresentations(
            policy=self.policy, value=self.value, critic=self.critic, domains=len(training.domains), steps=self.steps,
            common=self.representation,
        )
        network = NetworkConfig(
            cameras=(self.camera,), encoder="split", split=heads.settings("policy").split, hidden=self.hidden,
            image_reduction=self.image_reduction,
        )
        settings = IQLConfig(
            expectile=self.expectile, awr_inv_temp=self.awr_inv_temp, gamma=self.gamma, target_rate=self.target_rate,
            learning_rate=self.learning_rate, cosine_steps=self.steps, encoder="policy" if self.shared_encoder else "separate",
            representation=heads, freeze_online=True,
        )
        return IQL(frame_specs(training.data.frames, self.camera), training.data.action.shape[1], network, settings)


TEMPERATURE = 0.3
"""awr_inv_temp of the presets (ours). A success is 1 a step and ends nothing, so values reach tens; at ch. 7's 3.0 advantages (standard
deviation 0.75) spread the weights so far that one row in a hundred taught the policy, and its error rose as the values grew"""
RL_PRESETS: dict[str, OfflineRLConfig] = {
    "full": OfflineRLConfig(awr_inv_temp=TEMPERATURE),
    "small": OfflineRLConfig(
        awr_inv_temp=TEMPERATURE, batch=64, steps=10_000, representation=RepresentationConfig(channels=SMALL_CHANNELS)
    ),
}
"""`full`: section 4.4, at 128 px days of one core. `small`: ours, for a CPU at 64 px."""


class OfflineTrainer(ArrayTrainer):
    """Batches of transitions, frames augmented, domain labels beside them. A step's reward is the success of s'; nothing is terminal."""

    loose = ArrayTrainer.loose - {"steps"}  # cosine, ramp and warm-up run over them

    def __init__(self, config: OfflineRLConfig, training: TrainingSet, device: str = "cpu"):
        super().__init__(config, training, config.seed, device)
        self.config = config
        self.learner = config.learner(training)
        for module in self.learner.modules.values():
            module.to(self.device)

    def state(self) -> dict[str, Tensor]:
        return self.learner.state_dict()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.learner.load_state_dict(state)
        self.step = self.learner.steps

    def _frames(self, rows: np.ndarray) -> dict[str, Tensor]:
        frames = self.training.data.frames[rows]
        if self.config.augment:
            frames = jitter_and_crop(frames, self.generator)
        return {self.config.camera: torch.from_numpy(frames), DOMAIN: torch.from_numpy(self.training.domain[rows])}

    def batch(self) -> Batch:
        data, steps = self.training.data, self.training.steps
        rows = steps[self.generator.integers(0, len(steps), self.config.batch)]
        action, reward = torch.from_numpy(data.action[rows]), torch.from_numpy(data.success[rows + 1].astype(np.float32))
        return Batch(self._frames(rows), action, reward, torch.ones(len(rows)), self._frames(rows + 1)).to(self.device)

    def update(self) -> dict[str, Tensor]:
        metrics = self.learner.update(self.batch())
        self.step += 1
        return metrics

    def train(self, folder: Path | None = None) -> dict[str, float]:
        """To the config's last step."""
        return self.run(self.config.steps, folder, self.config.checkpoint_every, self.config.log_every)


def write_offline_policy(folder: Path, trainer: OfflineTrainer, name: str, **fields: Any) -> str:
    """The policy as a bundle that PolicyRunner reads; `fields` go to write_policy (action space, control period). Returns its id."""
    lineage = {"connectors": list(trainer.training.connectors), "seed": trainer.config.seed, "step": trainer.step}
    config = trainer.config.model_dump(mode="json")
    return write_policy(folder, trainer.learner.policy(), name=name, algorithm="iql", config=config, lineage=lineage, **fields)


class FeatureBank:
    """Mean latents of every training frame under each of the learner's frozen encoders, for `copies` augmentations drawn once.

    What offline data give to an online batch, without a convolution: role -> float32 [copies, n, size], n = len(training.rows).
    """

    def __init__(self, learner: IQL, training: TrainingSet, camera: str, copies: int, seed: int):
        """`copies` 0: one, without augmentation. ValueError unless the encoders are frozen."""
        if not all(e.frozen for e in learner.encoders().values()):
            raise ValueError("features are stored of frozen encoders only")
        self.training, self.camera = training, camera
        frames, rows = training.data.frames, training.rows
        generator = np.random.default_rng([seed, 17])
        self.features = {r: np.empty((max(copies, 1), len(rows), e.size), np.float32) for r, e in learner.encoders().items()}
        for copy in range(max(copies, 1)):
            for start in range(0, len(rows), CHUNK):
                piece = frames[rows[start : start + CHUNK]]
                if copies:
                    piece = jitter_and_crop(piece, generator)
                for role, values in encode(learner, piece, camera).items():
                    self.features[role][copy, start : start + CHUNK] = values
        self.steps = np.searchsorted(rows, training.steps)
        self.reward = training.data.success[training.steps + 1].astype(np.float32)
        self.action = training.data.action[training.steps]

    def sample(self, n: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """n transitions; s and s' each of one of the copies."""
        pick = generator.integers(0, len(self.steps), n)
        copies = len(next(iter(self.features.values())))
        now, after = generator.integers(0, copies, (2, n))
        rows = self.steps[pick]
        out = {"action": self.action[pick], "reward": self.reward[pick]}
        for role, values in self.features.items():
            out[f"now/{role}"], out[f"next/{role}"] = values[now, rows], values[after, rows + 1]
        return out


@torch.inference_mode()
def encode(learner: IQL, frames: np.ndarray, camera: str) -> dict[str, np.ndarray]:
    """role -> features float32 [N, size] of uint8 [N, H, W, 3] by the learner's frozen encoders, which give means."""
    device = next(learner.actor.parameters()).device
    out: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(frames), CHUNK):
        observation = {camera: torch.from_numpy(np.ascontiguousarray(frames[start : start + CHUNK])).to(device)}
        for role, encoder in learner.encoders().items():
            out.setdefault(role, []).append(encoder(observation).cpu().numpy())
    return {r: np.concatenate(v) for r, v in out.items()}


def feature_batch(parts: list[dict[str, np.ndarray]], roles: list[str]) -> Batch:
    """One batch of stored features from parts as `FeatureBank.sample` gives them; nothing is terminal."""
    whole = {k: torch.from_numpy(np.concatenate([p[k] for p in parts])) for k in parts[0]}
    now, after = ({stored_name(r): whole[f"{when}/{r}"] for r in roles} for when in ("now", "next"))
    return Batch(now, whole["action"], whole["reward"], torch.ones(len(whole["action"])), after)
