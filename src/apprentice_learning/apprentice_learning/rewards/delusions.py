"""Delusion finder (spec 000 section 2.12): episodes in which the reward model is likely fooled, for the sketch queue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.predictions import Prediction, Predictions
from apprentice_store.sketches import sketches
from apprentice_store.store import Store

Mode = Literal["failure", "ensemble", "versions"]
WINDOW = 5
"""ours: frames over which a reward must stay high, so that one flicker does not head the list"""
EPISODES = "kind = 'episode'"


@dataclass(frozen=True)
class Delusion:
    """`score` in [0, 1], higher is worse; `frame` is where it shows best; `sketched` says that a person has drawn on it already."""

    episode_id: str
    mode: Mode
    score: float
    frame: int
    reason: str
    success: bool | None
    sketched: bool


def sustained(values: np.ndarray, window: int = WINDOW) -> tuple[float, int]:
    """(highest mean over `window` successive values, where it begins); values float [frames]."""
    n = min(window, len(values))
    means = np.convolve(values, np.full(n, 1.0 / n), mode="valid")
    at = int(np.argmax(means))
    return float(means[at]), at


class DelusionFinder:
    """Ranks the episodes that `model_id` (the newest model for the task where empty) has scored."""

    def __init__(self, store: Store, task: str, model_id: str = "", revision: int | None = None):
        self.store, self.task = store, task
        self.predictions = Predictions(store)
        models = self.predictions.models(task, revision)
        if not models or (model_id and model_id not in models):
            who = model_id or "no model"
            raise ApprenticeError(f"{store.folder}: {who} has labelled for task {task!r}; run `apprentice relabel {task}`")
        self.model_id = model_id or models[-1]
        self.said = self.predictions.of(task, self.model_id, revision)
        self.sketched = set(sketches(store.catalogue, task, revision).episode_ids)
        earlier = models[: models.index(self.model_id)]
        self.other = earlier[-1] if earlier else ""
        self.said_before = self.predictions.of(task, self.other, revision) if self.other else {}
        self.unreadable: dict[str, str] = {}

    def find(self, mode: Mode, limit: int = 20, where: str = "", unsketched: bool = True) -> list[Delusion]:
        """The `limit` worst first, of those that fulfil `where` (all; for failures those of the task, since a failure at another task says
        nothing of this one); `unsketched` leaves out what has been sketched for the task. ApprenticeError when the mode has nothing to
        compare: no ensemble, or no earlier model."""
        if mode == "versions" and not self.other:
            raise ApprenticeError(f"{self.model_id} is the first model for task {self.task!r}: there is no earlier one to disagree with")
        found: list[Delusion] = []
        single = 0
        for row in self.store.episodes(where or (f"{EPISODES} and task = '{self.task}'" if mode == "failure" else EPISODES)):
            prediction = self.said.get(row.episode_id)
            if prediction is None or (unsketched and row.episode_id in self.sketched):
                continue
            values = self._values(prediction)
            if values is None:
                continue
            single += values.shape[1] == 1
            delusion = self._judge(mode, row, values)
            if delusion is not None:
                found.append(delusion)
        if mode == "ensemble" and single and not found:
            raise ApprenticeError(f"{self.model_id} is a single model: train an ensemble (--members 3) to see its members disagree")
        return sorted(found, key=lambda d: (-d.score, d.episode_id))[:limit]

    def _values(self, prediction: Prediction) -> np.ndarray | None:
        try:
            return self.predictions.read(prediction)
        except ApprenticeError as error:
            self.unreadable[prediction.episode_id] = str(error)
            return None

    def _judge(self, mode: Mode, row: EpisodeRow, values: np.ndarray) -> Delusion | None:
        mean = values.mean(axis=1)
        if mode == "failure":
            if row.success is not False:
                return None
            score, frame = sustained(mean)
            reason = f"judged a failure, predicted reward {score:.2f} around frame {frame}"
        elif mode == "ensemble":
            if values.shape[1] == 1:
                return None
            score, frame = sustained(values.max(axis=1) - values.min(axis=1))
            reason = f"{values.shape[1]} members differ by {score:.2f} around frame {frame}"
        else:
            before = self.said_before.get(row.episode_id)
            other = self._values(before) if before is not None else None
            if other is None or len(other) != len(values):
                return None
            score, frame = sustained(np.abs(mean - other.mean(axis=1)))
            reason = f"{self.model_id} and {self.other} differ by {score:.2f} around frame {frame}"
        return Delusion(row.episode_id, mode, score, frame, reason, row.success, row.episode_id in self.sketched)


def find_delusions(
    data: Path | str, task: str, mode: Mode = "failure", limit: int = 20, model_id: str = "", where: str = "", unsketched: bool = True
) -> list[Delusion]:
    """One call for commands and the sketch queue."""
    with Store(data) as store:
        return DelusionFinder(store, task, model_id).find(mode, limit, where, unsketched)
