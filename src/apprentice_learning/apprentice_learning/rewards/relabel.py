"""Retrospective labelling (spec 000 section 2.8): a reward model says of every frame of every episode what it is worth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_learning.rewards.bundles import read_reward
from apprentice_learning.rewards.engines import Engine, make_engine
from apprentice_learning.rewards.scoring import Job
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.predictions import Predictions
from apprentice_store.store import Store

EPISODES = "kind = 'episode'"
"""of any task and age; resets are nobody's task"""
WATCH_PERIOD = 2.0
"""s between two looks for new episodes (ours)"""


@dataclass
class RelabelResult:
    """What was done now. `known`: episodes that this model had scored before; `skipped`: episode id to reason."""

    task: str
    model_id: str
    episodes: int = 0
    frames: int = 0
    known: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    wall_s: float = 0.0
    stopped: bool = False

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.wall_s if self.wall_s else 0.0


Progress = Callable[[int, int, RelabelResult], None]
"""(episodes done, episodes known of so far, the result as it stands)"""


class Relabeller:
    """Labels for one model. Each episode is written as it is scored, so a kill loses what was being scored and nothing else."""

    def __init__(self, store: Store, task: str, bundle: Path, where: str = EPISODES):
        """BundleError for a wrong bundle, ApprenticeError for a model of another task."""
        manifest, _, model_id = read_reward(bundle)
        if manifest.network["task"] != task:
            raise ApprenticeError(f"{bundle}: learned task {manifest.network['task']!r}, not {task!r}")
        self.store, self.task, self.bundle, self.where = store, task, bundle, where
        self.predictions = Predictions(store)
        self.result = RelabelResult(task, model_id)
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ends after the episode that is being scored; safe from a signal handler."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def due(self) -> list[EpisodeRow]:
        """Episodes of this data folder that fulfil the query and are not scored yet, but for those that could not be; oldest first."""
        rows = [r for r in self.store.episodes(self.where) if r.store_id == self.store.store_id]
        missing = self.predictions.missing(rows, self.task, self.result.model_id)
        self.result.known = len(rows) - len(missing) - self.result.episodes
        return [r for r in missing if r.episode_id not in self.result.skipped]

    def once(self, engine: Engine, progress: Progress = lambda done, total, result: None) -> RelabelResult:
        """Scores all that is due."""
        begun, spent = time.monotonic(), self.result.wall_s
        rows = {r.episode_id: r for r in self.due()}
        jobs = (Job(r.episode_id, self.store.path(r.episode_id), r.hash) for r in list(rows.values()) if not self.stopped)
        for done, scored in enumerate(engine.run(jobs), start=1):
            row = rows[scored.episode_id]
            try:
                if scored.values is None:
                    raise ApprenticeError(scored.reason)
                self.predictions.add(row, self.task, self.result.model_id, scored.values)
                self.result.episodes += 1
                self.result.frames += len(scored.values)
            except ApprenticeError as error:
                self.result.skipped[scored.episode_id] = str(error)
            self.result.wall_s = spent + time.monotonic() - begun
            progress(done, len(rows), self.result)
            if self.stopped:
                break
        self.result.stopped = self.stopped
        return self.result

    def watch(self, engine: Engine, progress: Progress = lambda done, total, result: None, period: float = WATCH_PERIOD) -> RelabelResult:
        """`once`, and again whenever episodes have come, until `stop`."""
        seen = -1
        while not self.stopped:
            revision = self.store.catalogue.revision
            if revision != seen:
                self.once(engine, progress)
                seen = revision if self.store.catalogue.revision == revision else -1
            self._stop.wait(period)
        self.result.stopped = True
        return self.result


def relabel(
    data: Path | str, task: str, bundle: Path, *, where: str = EPISODES, engine: str = "process", workers: int = 1, device: str = "cpu",
    address: str = "", watch: bool = False, progress: Progress = lambda done, total, result: None, period: float = WATCH_PERIOD,
    on_start: Callable[[Relabeller], None] = lambda relabeller: None,
) -> RelabelResult:
    """What `apprentice relabel` runs: every frame of every episode that fulfils `where`, but for what this model has said already.

    `on_start` is given the relabeller, to stop it by. ApprenticeError when the model fits none of the episodes.
    """
    with Store(data) as store:
        relabeller = Relabeller(store, task, bundle, where)
        on_start(relabeller)
        if not watch and not relabeller.due():
            return relabeller.result
        with make_engine(engine, bundle, device, workers, address) as running:
            result = relabeller.watch(running, progress, period) if watch else relabeller.once(running, progress)
    if result.skipped and not result.episodes and not result.known and not result.stopped:
        raise ApprenticeError(f"none of {len(result.skipped)} episodes could be scored; the first: {next(iter(result.skipped.values()))}")
    return result
