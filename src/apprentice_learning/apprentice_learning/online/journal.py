"""The journal: committed episodes in commit order, the only way from actors to a learner (contract 6).

A position is a number that grows with every commit; a checkpoint keeps it. `MemoryJournal` serves experiments in one process,
`StoreJournal` a trainer in a process of its own. Both give the same Episode.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from apprentice_core.cell import CellSpec
from apprentice_core.episode import ACTION_KINDS, Episode, EpisodeContext, EpisodeOutcome, Segment, StepRecord
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.spaces import Observation
from apprentice_store.commit_log import commits_after
from apprentice_store.store import Store

log = logging.getLogger(__name__)
EPISODES = "kind = 'episode'"
"""resets are recorded too, and are nobody's task"""


@dataclass(frozen=True)
class Entry:
    """One commit. `episode` is None where its bag cannot be read, and `reason` says why."""

    position: int
    episode_id: str
    episode: Episode | None
    reason: str = ""


class Journal(Protocol):
    """Reading never waits: `after` ends with the newest commit."""

    @property
    def position(self) -> int:
        """Of the newest commit; 0 before the first."""
        ...

    def after(self, position: int, names: Iterable[str] | None = None) -> Iterator[Entry]:
        """Entries behind `position`, oldest first, with the observation arrays `names` (None: all)."""
        ...


class MemoryJournal:
    """An EpisodeSink (core cell.py) that keeps the episodes of a cell in this process; `names` limits the observation arrays it keeps.

    `end` is the commit. An aborted episode leaves no trace; recorded resets are not kept.
    """

    def __init__(self, names: Iterable[str] | None = None):
        self.entries: list[Entry] = []
        self._names = None if names is None else frozenset(names)
        self._context: EpisodeContext | None = None
        self._observations: list[Observation] = []
        self._records: list[StepRecord] = []
        self._stamps: list[float] = []

    @property
    def position(self) -> int:
        return len(self.entries)

    def after(self, position: int, names: Iterable[str] | None = None) -> Iterator[Entry]:
        """As Journal's; the arrays are those that were kept, whatever `names` says."""
        yield from self.entries[position:]

    def start(self, context: EpisodeContext, spec: CellSpec) -> None:
        self._context, self._spec = context, spec
        self._observations, self._records, self._stamps = [], [], []

    def step(self, observation: Observation, record: StepRecord, stamp: float) -> None:
        self._keep(observation, stamp)
        self._records.append(record)

    def end(self, observation: Observation, outcome: EpisodeOutcome, stamp: float) -> str:
        """Commits; the path is empty, as there is no bag."""
        context = self._context
        if context is None:
            raise ApprenticeError("no episode was started")
        self._keep(observation, stamp)
        if context.kind == "episode" and self._records:
            episode = build_episode(context, self._spec, self._observations, self._records, outcome, self._stamps)
            self.entries.append(Entry(len(self.entries) + 1, context.episode_id, episode))
        self._context = None
        return ""

    def abort(self, reason: str) -> None:
        self._context = None

    def _keep(self, observation: Observation, stamp: float) -> None:
        if self._context is None:
            raise ApprenticeError("no episode was started")
        # Copied, because a cell may fill the same arrays again.
        self._observations.append({n: a.copy() for n, a in observation.items() if self._names is None or n in self._names})
        self._stamps.append(stamp)


def build_episode(
    context: EpisodeContext, spec: CellSpec, observations: list[Observation], records: list[StepRecord], outcome: EpisodeOutcome,
    stamps: list[float],
) -> Episode:
    """The Episode that a bag of the same T steps and T + 1 observations would be read as (but for wall-clock stamps and the bag's hash)."""
    segments: dict[int, Segment] = {}
    for r in records:
        segments.setdefault(r.segment.index, r.segment)
    index = {k: i for i, k in enumerate(segments)}
    rewards = {name: np.full(len(records), np.nan, np.float32) for r in records for name in r.rewards}
    for t, r in enumerate(records):
        for name, reward in r.rewards.items():
            if reward.valid:
                rewards[name][t] = reward.value
    last = records[-1].next_privileged
    return Episode(
        episode_id=context.episode_id, path="", meta=_meta(context, spec, records, outcome, stamps),
        observations={n: np.stack([o[n] for o in observations]) for n in observations[0]},
        actions={k: np.stack([np.asarray(r.actions[k], dtype=np.float32) for r in records]) for k in ACTION_KINDS},
        discount=np.array([r.discount for r in records], np.float32), rewards=rewards,
        privileged={n: np.stack([*(r.privileged[n] for r in records), last[n]]) for n in last},
        actors=[r.actor for r in records], outcomes=[r.outcome for r in records], segments=list(segments.values()),
        segment_index=np.array([index[r.segment.index] for r in records], np.int32), digests=[r.digest for r in records],
        stamps={"tick": np.array([round(s * 1e9) for s in stamps], np.int64)}, outcome=outcome,
    )


def _meta(
    context: EpisodeContext, spec: CellSpec, records: list[StepRecord], outcome: EpisodeOutcome, stamps: list[float]
) -> dict[str, Any]:
    """The fields of a bag's `meta` (apprentice_store.bag_reader) that are known without a bag."""
    return {
        "episode_id": context.episode_id, "kind": context.kind, "task": context.task, "cell": spec.name, "robot": spec.robot,
        "source": context.source, "bundle_id": next((r.bundle_id for r in records if r.bundle_id), ""), "seed": context.seed,
        "initial_state": context.initial_state, "metadata": dict(context.metadata), "action_space": records[0].action_space,
        "control_period": spec.timing.control_period, "steps": len(records), "success": outcome.success,
        "terminated": outcome.terminated, "truncated": outcome.truncated, "reason": outcome.reason, "duration": stamps[-1] - stamps[0],
    }


class StoreJournal:
    """A data folder's commits that fulfil `where`. Bags are immutable and revisions only grow: a stretch read again is the same."""

    def __init__(self, store: Store, where: str = EPISODES):
        self.store, self.where = store, where

    @property
    def position(self) -> int:
        return self.store.catalogue.revision

    def after(self, position: int, names: Iterable[str] | None = None) -> Iterator[Entry]:
        wanted = None if names is None else tuple(names)
        for commit in commits_after(self.store.catalogue, position, self.store.store_id, self.where):
            try:
                yield Entry(commit.revision, commit.episode_id, self.store.read(commit.episode_id, wanted))
            except BagError as error:
                log.warning("refused: %s", error)
                yield Entry(commit.revision, commit.episode_id, None, str(error))
