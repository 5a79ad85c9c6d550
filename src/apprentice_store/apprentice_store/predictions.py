"""Predicted rewards: one file per (episode, task, model), named by the catalogue (spec 000 section 2.8)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue, EpisodeRow

if TYPE_CHECKING:
    from apprentice_store.replay_cache import ReplayCache

log = logging.getLogger(__name__)
KIND = "predicted_reward"
FOLDER = "predicted"
PREDICTED = "PREDICTED"
"""type of a curve that a model drew"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class CatalogueBusy(ApprenticeError):
    """Another process holds the catalogue for longer than we wait."""


class DataFolder(Protocol):
    """A store, or as much of another one as is needed to read its predictions."""

    @property
    def folder(self) -> Path: ...

    @property
    def catalogue(self) -> Catalogue: ...


@dataclass(frozen=True)
class Prediction:
    """What the catalogue says of one file. `bag` is the hash of the bag whose frames were scored, `sha256` that of the file."""

    episode_id: str
    task: str
    model_id: str
    revision: int
    file: str
    frames: int
    bag: str
    sha256: str


class Predictions:
    """The predicted rewards of a data folder. Files are float32 [frames, members]; the reward is the mean of the members (ours).

    Nothing is changed in place: another model writes other files, and the same model about the same bag writes the same one again.
    """

    def __init__(self, store: DataFolder):
        self.store = store

    def add(self, row: EpisodeRow, task: str, model_id: str, values: np.ndarray) -> int:
        """Writes the file, then the row that names it, so a kill in between leaves an episode without prediction and no half one.

        values: [frames, members] in [0, 1]. Returns the new revision. ApprenticeError for other shapes or numbers, CatalogueBusy when
        another process does not let go of the catalogue.
        """
        if values.ndim != 2 or len(values) != row.steps + 1 or not values.shape[1]:
            raise ApprenticeError(f"episode {row.episode_id}: predictions of shape {values.shape} for {row.steps + 1} frames")
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise ApprenticeError(f"episode {row.episode_id}: a prediction is not in [0, 1]")
        file = f"{FOLDER}/{_checked(task)}/{_checked(model_id)}/{_checked(row.episode_id)}.npy"
        digest = self._write(file, values)
        said = {"file": file, "frames": len(values), "bag": row.hash, "sha256": digest}
        try:
            return self.store.catalogue.annotate(row.episode_id, KIND, task, said, author=model_id)
        except OperationalError as error:
            why = " ".join(str(error.orig).split())
            raise CatalogueBusy(f"catalogue: {why}: nothing is lost, but {row.episode_id} is not noted as scored; run it again") from error

    def _write(self, file: str, values: np.ndarray) -> str:
        path = self.store.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        with staging.open("wb") as out:
            np.save(out, np.ascontiguousarray(values, dtype=np.float32), allow_pickle=False)
            out.flush()
            os.fsync(out.fileno())
        digest = hashlib.sha256(staging.read_bytes()).hexdigest()
        staging.replace(path)
        return digest

    def take(self, theirs: Predictions, prediction: Prediction) -> bool:
        """Copies another folder's prediction to the same place here; False where the very file is here already.

        ApprenticeError where another file is here, which stays, or where theirs cannot be read. The row that names it is the caller's.
        """
        mine = self._path(prediction)
        if mine.exists():
            if hashlib.sha256(mine.read_bytes()).hexdigest() != prediction.sha256:
                raise ApprenticeError(f"another prediction of {prediction.model_id} for {prediction.task} is here; it stays")
            return False
        if self._write(prediction.file, theirs.read(prediction)) != prediction.sha256:
            mine.unlink()
            raise ApprenticeError(f"the prediction of {prediction.model_id} for {prediction.task} is of another format")
        return True

    def of(self, task: str, model_id: str, revision: int | None = None) -> dict[str, Prediction]:
        """By episode id, the newest that this model said for the task, at most up to `revision`."""
        t = s.annotation_log.c
        query = select(t.episode_id, t.revision, t.value).where(t.kind == KIND, t.name == task, t.author == model_id).order_by(t.revision)
        if revision is not None:
            query = query.where(t.revision <= revision)
        with self.store.catalogue.transaction() as connection:
            said = [_prediction(i, task, model_id, number, value) for i, number, value in connection.execute(query)]
        return {p.episode_id: p for p in said if p is not None}

    def of_episode(self, episode_id: str, task: str = "") -> list[Prediction]:
        """The newest of each model for one episode ('': and each task), in order of revision."""
        t = s.annotation_log.c
        query = select(t.name, t.author, t.revision, t.value).where(t.episode_id == episode_id, t.kind == KIND).order_by(t.revision)
        if task:
            query = query.where(t.name == task)
        with self.store.catalogue.transaction() as connection:
            said = {(name, by): _prediction(episode_id, name, by, number, value) for name, by, number, value in connection.execute(query)}
        return sorted((p for p in said.values() if p is not None), key=lambda p: p.revision)

    def models(self, task: str, revision: int | None = None) -> list[str]:
        """Ids of the models that have labelled for the task, in the order in which each first did."""
        t = s.annotation_log.c
        query = select(t.author).where(t.kind == KIND, t.name == task).group_by(t.author).order_by(func.min(t.revision))
        if revision is not None:
            query = query.where(t.revision <= revision)
        with self.store.catalogue.transaction() as connection:
            return [r[0] for r in connection.execute(query)]

    def missing(self, rows: Iterable[EpisodeRow], task: str, model_id: str) -> list[EpisodeRow]:
        """Those of `rows` that this model has not scored, or whose file is gone or belongs to another bag."""
        known = self.of(task, model_id)
        return [r for r in rows if (p := known.get(r.episode_id)) is None or p.bag != r.hash or not self._path(p).is_file()]

    def read(self, prediction: Prediction) -> np.ndarray:
        """float32 [frames, members]; ApprenticeError when the file is missing, changed or of another form."""
        path = self._path(prediction)
        try:
            if path.stat().st_size > 4096 + 4 * 64 * max(prediction.frames, 1):
                raise ValueError("too large")
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() != prediction.sha256:
                raise ValueError("differs from what was written")
            with path.open("rb") as file:
                values = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ApprenticeError(f"{path}: cannot be read as a prediction ({error}); run `apprentice relabel` again") from error
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != prediction.frames:
            raise ApprenticeError(f"{path}: holds {values.dtype} {values.shape}, expected float32 [{prediction.frames}, members]")
        return values

    def column(
        self, cache: ReplayCache, task: str, model_id: str = "", revision: int | None = None
    ) -> tuple[np.ndarray, str, tuple[str, ...]]:
        """(float32 [rows], model id, ids of the episodes that it has not scored) for the rows of a replay cache.

        The mean of the members at each step's observation, NaN at an episode's last row and where there is no prediction. An empty
        `model_id` means the newest model for the task. A whole column is kept beside the cache, where no observation is copied.
        """
        known = self.models(task, revision)
        if not known or (model_id and model_id not in known):
            what = f"model {model_id!r} has not labelled" if model_id else "no model has labelled"
            raise ApprenticeError(f"{self.store.folder}: {what} anything for task {task!r}; run `apprentice relabel {task}`")
        model = model_id or known[-1]
        name = f"reward/model/{task}"
        kept = cache.derived(name, model)
        if kept is not None:
            return kept, model, ()
        said = self.of(task, model, revision)
        out, missing = np.full(len(cache), np.nan, np.float32), []
        for episode, start in zip(cache.episodes, cache.episode_starts, strict=False):
            prediction = said.get(episode.episode_id)
            try:
                if prediction is None or prediction.bag != episode.hash:
                    raise ApprenticeError(f"episode {episode.episode_id}: not scored by {model}")
                values = self.read(prediction)
            except ApprenticeError as error:
                log.info("no predicted reward: %s", error)
                missing.append(episode.episode_id)
                continue
            out[start : start + episode.steps] = values[episode.first : episode.first + episode.steps].mean(axis=1)
        return (out if missing else cache.add_derived(name, model, out)), model, tuple(missing)

    def _path(self, prediction: Prediction) -> Path:
        return self.store.folder / prediction.file


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ApprenticeError(f"{name[:100]!r} cannot name a file: letters, digits, '.', '_' and '-' only")
    return name


def _prediction(episode_id: str, task: str, model_id: str, revision: int, value: str) -> Prediction | None:
    """None, with a warning, for a row that names no file of ours: the episode then counts as not scored."""
    try:
        said = json.loads(value)
        file = str(said["file"])
        if Path(file).parts[:1] != (FOLDER,) or ".." in Path(file).parts:
            raise ValueError(f"{file[:100]!r} leads out of {FOLDER}/")
        return Prediction(episode_id, task, model_id, revision, file, int(said["frames"]), str(said["bag"]), str(said["sha256"]))
    except (ValueError, KeyError, TypeError) as error:
        log.warning("catalogue: revision %d: is not a prediction (%s)", revision, error)
        return None
