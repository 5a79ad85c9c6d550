"""Online self-rewarded fine-tuning on a new connector (spec 001c section 4.5): R judges, encoders stand still, old data stay in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError
from apprentice_learning.algorithms.iql import IQL
from apprentice_learning.bundles import write_policy
from apprentice_learning.data.shares import Shares
from apprentice_learning.online.journal import Entry, Journal
from apprentice_learning.representations.array_trainer import ArrayTrainer
from apprentice_learning.representations.dataset import CAMERA, TrainingSet
from apprentice_learning.representations.offline_rl import FeatureBank, encode, feature_batch

Probability = Callable[[np.ndarray], np.ndarray]
"""uint8 frames [N, H, W, 3] -> probability of success [N]: the frozen reward model"""
ONLINE = "online."
THRESHOLD = 0.5


class FineTuningConfig(Strict):
    """Section 4.5."""

    online_share: float = Field(0.25, gt=0, lt=1, description="chapter 10: 25 % online, 75 % offline, exactly")
    batch: int = Field(256, ge=2, description="ours (4.4)")
    copies: int = Field(4, ge=0, le=64, description="ours: stored augmentations of an offline frame; 0: the frame itself")
    updates_per_step: int = Field(1, ge=1, description="paper (ch. 7): gradient steps of one environment step")
    reward: Literal["binary", "prob"] = Field("binary", description="ours (4.5): at 0.5; prob: the probability itself")
    exploration_noise: float = Field(0.03, ge=0, description="paper (ch. 7): std, on top of the policy, in [-1, 1] units; option 0.1")
    camera: str = CAMERA
    seed: int = Field(0, ge=0)


class FineTuner(ArrayTrainer):
    """The learner, the offline features, and the online transitions, whose only reward is R(s').

    No argument of any method takes a true reward (C24). Online frames are never augmented (C19).
    """

    def __init__(
        self, config: FineTuningConfig, learner: IQL, training: TrainingSet, probability: Probability, bank: FeatureBank | None = None
    ):
        """`learner`: trained offline; its encoders are frozen here (C22). `bank`: of another practice on the same offline run, whose
        features are these too; ValueError when it is of other frames."""
        super().__init__(config, training, config.seed)
        self.config, self.learner, self.probability = config, learner, probability
        learner.set_phase("online")
        learner.freeze_encoders()
        self.modules = learner.modules
        if bank is not None and bank.training is not training:
            raise ValueError("the features are of another training set")
        self.bank = bank or FeatureBank(learner, training, config.camera, config.copies, config.seed)
        self.roles = list(self.bank.features)
        self.shares = Shares((config.online_share, 1.0 - config.online_share), config.batch)
        self.online: dict[str, np.ndarray] = {}
        self.noise = np.random.default_rng([config.seed, 19])
        self.position = 0

    def __len__(self) -> int:
        """Online transitions so far."""
        return len(self.online["reward"]) if self.online else 0

    def add(self, frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """A committed episode: uint8 [T + 1, H, W, 3] and executed float32 [T, A]. Returns the probabilities of s', [T]."""
        if len(frames) != len(actions) + 1:
            raise ValueError(f"{len(frames)} frames of {len(actions)} actions")
        p = self.probability(frames[1:])
        if not np.isfinite(p).all():
            raise ApprenticeError("the reward model gives no finite number for an online frame")
        reward = p if self.config.reward == "prob" else (p >= THRESHOLD)
        new = {"action": actions.astype(np.float32), "reward": reward.astype(np.float32)}
        for role, values in encode(self.learner, frames, self.config.camera).items():
            new[f"now/{role}"], new[f"next/{role}"] = values[:-1], values[1:]
        self.online = {k: np.concatenate([self.online[k], v]) for k, v in new.items()} if self.online else new
        return p

    def take(self, entry: Entry) -> np.ndarray:
        """A committed episode's probabilities of s' [T]. It is learned from (executed actions, and the updates that its steps are worth)
        unless it lies at or before `position`. ApprenticeError for one that cannot be read, or is without the camera."""
        frames = None if entry.episode is None else entry.episode.observations.get(self.config.camera)
        if entry.episode is None or frames is None:
            raise ApprenticeError(f"episode {entry.episode_id} has no {self.config.camera}")
        if entry.position <= self.position:
            return self.probability(frames[1:])
        self.position = entry.position
        return self.learn(frames, entry.episode.actions["executed"])

    def follow(self, journal: Journal) -> int:
        """Takes up what was committed behind `position`; returns how many episodes that were. Unreadable and empty ones are passed
        over."""
        taken = 0
        for entry in journal.after(self.position, (self.config.camera,)):
            if entry.episode is None or not len(entry.episode):
                self.position = entry.position
                continue
            self.take(entry)
            taken += 1
        return taken

    def begin_trial(self) -> None:
        """Puts the exploration noise to where the transitions so far have brought it: a practice that was killed in the middle of a trial
        draws for that trial what it would have drawn."""
        self.noise = np.random.default_rng([self.config.seed, 19])
        if self.online:
            self.noise.standard_normal(self.online["action"].shape)

    def update(self) -> dict[str, Tensor]:
        """One gradient step on a batch of exactly the online share (C21); ApprenticeError before the first episode."""
        if not self.online:
            raise ApprenticeError("no online episode yet")
        fresh, old = self.shares.counts()
        pick = self.generator.integers(0, len(self), fresh)
        online = {k: v[pick] for k, v in self.online.items()}
        metrics = self.learner.update(feature_batch([online, self.bank.sample(int(old), self.generator)], self.roles))
        self.step += 1
        return metrics

    def learn(self, frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """`add`, then the updates that the episode's steps are worth."""
        p = self.add(frames, actions)
        self.run(self.step + self.config.updates_per_step * len(actions))
        return p

    @torch.inference_mode()
    def act(self, image: np.ndarray, explore: bool) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [H, W, 3] -> (mean action, noise on top of it), float32 [A] each; the noise is zero unless exploring (C25)."""
        policy = self.learner.policy().eval()
        mean = policy({self.config.camera: torch.from_numpy(np.ascontiguousarray(image))[None]})[0].numpy().copy()
        noise = self.config.exploration_noise * self.noise.standard_normal(len(mean)) if explore else np.zeros(len(mean))
        return mean, noise.astype(np.float32)

    def write_policy(self, folder: Path, name: str, **fields: Any) -> str:
        """The present policy as a bundle, for PolicyRunner; returns its id. `fields` go to bundles.write_policy."""
        lineage = {"connectors": list(self.training.connectors), "seed": self.config.seed, "step": self.step, "transitions": len(self)}
        config = self.config.model_dump(mode="json")
        return write_policy(folder, self.learner.policy(), name=name, algorithm="iql", config=config, lineage=lineage, **fields)

    def state(self) -> dict[str, Tensor]:
        return self.learner.state_dict() | {ONLINE + k: torch.from_numpy(v) for k, v in self.online.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        own = {k: v for k, v in state.items() if not k.startswith(ONLINE)}
        for name, value in self.learner.state_dict().items():
            if ".encoder." in name and not name.startswith("optimiser.") and not torch.equal(own.get(name, torch.empty(0)), value):
                raise ApprenticeError(f"the checkpoint's frozen encoders are not the learner's ({name}): start from the same offline run")
        self.learner.load_state_dict(own)
        self.online = {k[len(ONLINE) :]: v.numpy().copy() for k, v in state.items() if k.startswith(ONLINE)}

    def facts(self) -> dict[str, Any]:
        own = {"credit": self.shares.credit.tolist(), "updates": self.step}
        return super().facts() | own | {"position": self.position}

    def restore(self, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().restore(state, facts)
        self.shares.credit = np.array(facts["credit"])
        self.step, self.position = int(facts["updates"]), int(facts["position"])
        self.begin_trial()
