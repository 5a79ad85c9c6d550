"""Scoring one bag with a reward model: the function that relabelling runs here, in local processes or on Ray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice_core.errors import ApprenticeError, BagError
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_store.bag_reader import EpisodeReader

AHEAD = 2
"""bags that are decoded while the model is busy with another (ours)"""


@dataclass(frozen=True)
class Job:
    """A bag to score; `hash` is what the catalogue says of it."""

    episode_id: str
    path: Path
    hash: str


@dataclass(frozen=True)
class Scored:
    """float32 [frames, members], or the reason for which there is none."""

    episode_id: str
    values: np.ndarray | None
    reason: str = ""


class BagScorer:
    """Holds the model. `score` is one bag; `stream` decodes the next bags while the model works."""

    def __init__(self, bundle: Path | str, device: str = "cpu"):
        self.model = SketchReward(bundle, device)

    def decode(self, job: Job) -> dict[str, np.ndarray]:
        """The arrays that the model reads, [frames, ...]; BagError or BundleError says why this bag cannot be scored."""
        reader = EpisodeReader(job.path)
        if reader.meta["hash"] != job.hash:
            raise BagError(f"{job.path}: is not the bag that the catalogue names")
        self.model.check(reader.spec.observation)
        return reader.episode(self.model.inputs).observations

    def _decoded(self, job: Job) -> dict[str, np.ndarray] | str:
        # A bag is foreign data: whatever is wrong with it is told and skipped, never fatal for the rest.
        try:
            return self.decode(job)
        except (ApprenticeError, OSError, ValueError, MemoryError) as error:
            return " ".join(str(error).split())[:300] or type(error).__name__

    def _scored(self, job: Job, found: dict[str, np.ndarray] | str) -> Scored:
        if isinstance(found, str):
            return Scored(job.episode_id, None, found)
        values = self.model.predict(found)
        if not np.isfinite(values).all():
            return Scored(job.episode_id, None, f"{job.episode_id}: the model gives no finite number (NaN in the observation?)")
        return Scored(job.episode_id, values)

    def score(self, job: Job) -> Scored:
        return self._scored(job, self._decoded(job))

    def stream(self, jobs: Iterable[Job]) -> Iterator[Scored]:
        """Scored bags in order of the jobs."""
        waiting: list[tuple[Job, Future]] = []
        source = iter(jobs)
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
            try:
                while True:
                    while len(waiting) < AHEAD and (job := next(source, None)) is not None:
                        waiting.append((job, pool.submit(self._decoded, job)))
                    if not waiting:
                        return
                    job, future = waiting.pop(0)
                    yield self._scored(job, future.result())
            finally:
                for _, future in waiting:
                    future.cancel()
