"""The reward learner: fits the sketch model anew as sketches come, and publishes it (spec 000 sections 2.7 and 2.14)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from apprentice_core.bundle import read_manifest
from apprentice_core.errors import ApprenticeError
from apprentice_learning.rewards.models import find_model, list_models
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_learning.rewards.train import train_reward
from apprentice_store.sketches import sketches
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.settings import TASK, InteractiveSettings

Tell = Callable[[str, int, int, str], None]


def newest_model(data: Path) -> Path | None:
    """Folder of the model of the day; None before the first."""
    models = list_models(data, TASK)
    return models[-1] if models else None


def load_model(data: Path, model_id: str = "") -> SketchReward:
    """By id, or the newest; ApprenticeError where there is none."""
    return SketchReward(find_model(data, TASK, model_id))


class RewardLearner:
    """Over the data folder of a run; it keeps no state of its own, so a new one goes on where another was killed."""

    def __init__(self, store: Store, out: Path, s: InteractiveSettings, seed: int, tell: Tell = lambda what, done, total, note: None):
        self.store, self.out, self.s, self.seed, self.tell = store, out, s, seed, tell

    @property
    def due(self) -> bool:
        """Whether there are sketches enough for the first model, or enough new ones since the last."""
        have = [x.sequence_id for x in sketches(self.store.catalogue, TASK).sketches]
        newest = newest_model(self.store.folder)
        if newest is None:
            return len(have) >= self.s.demonstrations
        learned = read_manifest(newest).lineage.get("sketches", [])
        return len(set(have) - set(learned)) >= self.s.refit_sketches

    def refit(self) -> Path:
        """Fits and publishes a model of all sketches that there are now; KeyboardInterrupt where Ctrl-C ended it, after a checkpoint."""
        before = newest_model(self.store.folder)
        config = self.s.reward(self.seed + len(list_models(self.store.folder, TASK)), before is None)
        work = self.out / "reward"  # removed once its model is published: what is there was interrupted, and goes on with its sketches

        def progress(what: str, done: int, total: int, metrics: dict[str, float]) -> None:
            self.tell("reward model", done, total, what)

        result = train_reward(config, self.store.folder, work, progress=progress, initial=before, resume=work.exists())
        if result.stopped:
            raise KeyboardInterrupt
        if result.bundle is None:
            raise ApprenticeError("the reward learner ended without a model")
        shutil.rmtree(work)
        return result.bundle
