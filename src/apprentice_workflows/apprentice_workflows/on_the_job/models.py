"""What is trained on the collection, each once a seed and shared by all arms: reward models, localiser, offline policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from apprentice_learning.representations.config import Method
from apprentice_learning.representations.dataset import ConnectorData, TrainingSet
from apprentice_learning.representations.evaluation import reward_config
from apprentice_learning.representations.fine_tuning import FineTuner, FineTuningConfig, Probability
from apprentice_learning.representations.frame_models import (
    FrameModelConfig,
    LocaliserTrainer,
    RewardTrainer,
    SocketLocaliser,
    predict,
    write_frame_model,
)
from apprentice_learning.representations.localiser_report import LocaliserRow, localiser_report
from apprentice_learning.representations.offline_rl import FeatureBank, OfflineTrainer, write_offline_policy
from apprentice_learning.representations.on_the_job import finish, offline_config
from apprentice_learning.representations.registry import ConnectorRegistry, load_registry
from apprentice_sim.connectors.family import ROBOT_VIEWS
from apprentice_workflows.on_the_job.collection import Told, read_collection
from apprentice_workflows.on_the_job.settings import OnTheJobSettings
from apprentice_workflows.on_the_job.world import ROBOTS, SPACE

BUNDLE = "bundle"
Trained = TypeVar("Trained", RewardTrainer, LocaliserTrainer)


class Job:
    """One preset in one folder: episodes/, models/, cells/. `only`: connectors that are trained on (all that may be, by default)."""

    def __init__(self, folder: Path, s: OnTheJobSettings, tell: Told, only: Sequence[str] = ()):
        """HeldOutError when one of `only` is held out, or a close variant of one."""
        self.folder, self.s, self.tell, self.only = folder, s, tell, tuple(sorted(only))
        self.registry: ConnectorRegistry = load_registry()
        self.registry.admit(self.only)
        self._data: ConnectorData | None = None
        self._training: TrainingSet | None = None
        self._banks: dict[tuple[Method, int], FeatureBank] = {}

    @property
    def episodes(self) -> Path:
        return self.folder / "episodes"

    @property
    def data(self) -> ConnectorData:
        if self._data is None:
            self._data = read_collection(self.episodes, self.s, self.tell)
        return self._data

    @property
    def training(self) -> TrainingSet:
        if self._training is None:
            chosen = TrainingSet(self.data, self.registry, self.only) if self.only else TrainingSet.without(self.data, self.registry)
            self._training = chosen
        return self._training

    def models(self, kind: str, seed: int) -> Path:
        return self.folder / "models" / ("-".join(self.only) or "all") / f"{kind}_seed{seed}"

    def frame_config(self, method: Method, seed: int) -> FrameModelConfig:
        return reward_config(method, seed, self.s.models, **self.frame_changes)

    @property
    def frame_changes(self) -> dict[str, Any]:
        changes = {"steps": self.s.reward_steps, "batch": self.s.batch, "representation": self.s.representation}
        return {k: v for k, v in changes.items() if v}

    def reward(self, method: Method, seed: int) -> RewardTrainer:
        """Trained or read; its bundle lies beside its checkpoints, for `reward_node`."""
        trainer = RewardTrainer(self.frame_config(method, seed), self.training)
        return self._trained(trainer, f"reward_{method}", seed)

    def localiser_trainer(self, seed: int) -> LocaliserTrainer:
        """C31: on the same frames, with the trunk of ERM; trained or read, as `reward`."""
        return self._trained(LocaliserTrainer(self.frame_config("erm", seed), self.training), "localiser", seed)

    def localiser(self, seed: int) -> SocketLocaliser:
        """The same at work."""
        self.localiser_trainer(seed)
        return SocketLocaliser(self.models("localiser", seed) / BUNDLE)

    def _trained(self, trainer: Trained, kind: str, seed: int) -> Trained:
        folder, name = self.models(kind, seed), f"train {kind}, seed {seed}"
        finish(trainer, trainer.config.steps, folder, lambda done, total, _: self.tell(name, done, total, ""))
        if not (folder / BUNDLE).is_dir():
            write_frame_model(folder / BUNDLE, trainer, "inserted" if isinstance(trainer, RewardTrainer) else "socket")
        return trainer

    def policy(self, method: Method, seed: int) -> OfflineTrainer:
        """The offline learner of section 4.4 as it was trained, fresh in every call: practice changes it."""
        changes = {k: v for k, v in {"steps": self.s.offline_steps, "batch": self.s.batch}.items() if v}
        trainer = OfflineTrainer(offline_config(self.s.models, method, seed, self.s.representation, **changes), self.training)
        folder, name = self.models(f"policy_{method}", seed), f"train policy_{method}, seed {seed}"
        finish(trainer, trainer.config.steps, folder, lambda done, total, _: self.tell(name, done, total, ""))
        if not (folder / BUNDLE).is_dir():
            space = {"action_space": SPACE.name, "action_space_hash": SPACE.hash, "control_period": 0.1}
            write_offline_policy(folder / BUNDLE, trainer, f"offline_{method}", **space)
        return trainer

    def tuner(self, reward: Method, policy: Method, seed: int) -> FineTuner:
        """A learner that is ready to practise. The features of the frozen encoders are computed once for all connectors."""
        judge, trained = self.reward(reward, seed).network, self.policy(policy, seed)
        config = FineTuningConfig(batch=self.s.batch or trained.config.batch, copies=self.s.copies, seed=seed)

        def probability(frames: np.ndarray) -> np.ndarray:
            return predict(judge, frames)

        judged: Probability = probability
        tuner = FineTuner(config, trained.learner, self.training, judged, self._banks.get((policy, seed)))
        self._banks[policy, seed] = tuner.bank
        return tuner


def localiser_errors(job: Job, seed: int) -> dict[str, list[LocaliserRow]]:
    """`trained on` and `held out` -> the localiser's errors by distance. Choose settings by the first: trials are judged on the second."""
    trainer = job.localiser_trainer(seed)
    sight = {name: eye[:2] for name, (eye, _) in zip(ROBOTS, ROBOT_VIEWS, strict=True)}
    groups = {"trained on": job.training.connectors, "held out": sorted(job.registry.forbidden & set(job.data.connectors))}
    return {k: localiser_report(trainer, job.data, c, sight) for k, c in groups.items() if c}
