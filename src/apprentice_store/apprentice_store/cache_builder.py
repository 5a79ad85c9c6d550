"""Fills the columns of a new replay cache: from older caches where they hold a bag already, else from the bag."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.cache_layout import INFO, ArrayForm, CachedEpisode, CacheInfo, of_steps
from apprentice_store.manifest import Manifest
from apprentice_store.store import Store

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""(episodes done, episodes in all)"""
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Donor:
    """Rows of one episode in an older cache (a folder)."""

    cache: Path
    info: CacheInfo
    episode: CachedEpisode
    row: int

    def covers(self, trim: tuple[int, int] | None) -> bool:
        e = self.episode
        first, last = trim or (0, e.total - 1)
        return e.first <= first and last < e.first + e.steps

    def values(self, columns: Columns, names: set[str], first: int, steps: int) -> Iterator[tuple[str, np.ndarray]]:
        """Each column that the episode has, of the observations only `names`: `steps` entries of steps, else `steps + 1`."""
        observed = {form[0] for form in self.episode.forms}
        start = self.row + first - self.episode.first
        for name in sorted(self.episode.columns):
            if name not in observed or name in names:
                yield name, columns[name][start : start + steps + (not of_steps(name))]


@dataclass
class Plan:
    """One episode of the manifest that will be written."""

    episode_id: str
    hash: str
    first: int
    steps: int
    total: int
    forms: frozenset[ArrayForm]
    donors: list[Donor] = field(default_factory=list)


def donors_in(folder: Path, manifest: Manifest) -> dict[str, list[Donor]]:
    """By bag hash, what the caches in `folder` hold of the manifest's bags, largest cache first. What is no cache is passed over."""
    wanted = set(manifest.hashes)
    found: dict[str, list[Donor]] = {}
    for file in folder.glob(f"[!.]*/{INFO}"):
        try:
            info = CacheInfo.load(file.parent)
        except ApprenticeError as error:
            log.info("not used: %s", error)
            continue
        for episode, row in zip(info.episodes, info.starts, strict=False):
            if episode.hash in wanted:
                found.setdefault(episode.hash, []).append(Donor(file.parent, info, episode, int(row)))
    for donors in found.values():
        donors.sort(key=lambda d: (-len(d.info.episodes), d.cache))
    return found


def decoded(episode: Episode, first: int, steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of steps first ... first + steps - 1 of an episode (see ReplayCache)."""
    rows, acted = slice(first, first + steps + 1), slice(first, first + steps)
    for name, values in episode.observations.items():
        yield name, values[rows]
    for name, values in episode.privileged.items():
        yield f"privileged/{name}", values[rows]
    for kind, values in episode.actions.items():
        yield f"action/{kind}", values[acted].astype(np.float32, copy=False)
    yield "discount", episode.discount[acted]
    for name, values in episode.rewards.items():
        yield f"reward/{name}", values[acted]
    yield "step", np.arange(first, first + steps + 1, dtype=np.int32)
    success = -1 if episode.outcome.success is None else int(episode.outcome.success)
    yield "success", np.full(steps + 1, success, np.int8)


class CacheBuilder:
    """Writes one cache into `folder`; `names` limits the observation arrays (None: all that the episodes have in common)."""

    def __init__(self, store: Store, folder: Path, names: tuple[str, ...] | None):
        self.store, self.folder = store, folder
        self.wanted = None if names is None else set(names)
        self.columns: dict[str, np.memmap] = {}
        self.files: dict[str, str] = {}
        self.skipped: list[str] = []
        self._open_cache: tuple[Path, Columns] | None = None

    def run(self, manifest: Manifest, key: str, donors: dict[str, list[Donor]], progress: Progress | None) -> None:
        plans = self._plan(manifest, donors)
        names = self._names(plans)
        self.rows = sum(p.steps + 1 for p in plans)
        kept: list[CachedEpisode] = []
        at = 0
        for done, plan in enumerate(plans):
            try:
                values = self._copied(plan, names) or decoded(self._decode(plan, names), plan.first, plan.steps)
                own = self._write(plan, values, at)
            except BagError as error:
                self._skip(plan.episode_id, error)
                continue
            kept.append(CachedEpisode(plan.episode_id, plan.hash, plan.first, plan.steps, plan.total, own, plan.forms))
            at += plan.steps + 1
            if progress is not None:
                progress(done + 1, len(plans))
        if not kept:
            raise ApprenticeError(f"none of the {len(manifest)} episodes of the manifest can be read")
        for column in self.columns.values():
            column.flush()
        skipped = tuple(i for i in manifest.ids if i in self.skipped)
        CacheInfo(key, manifest.hash, tuple(kept), skipped, self.files).save(self.folder)

    def _skip(self, episode_id: str, error: ApprenticeError) -> None:
        log.warning("skipped: %s", error)
        self.skipped.append(episode_id)

    def _plan(self, manifest: Manifest, donors: dict[str, list[Donor]]) -> list[Plan]:
        plans, trims = [], manifest.trim_of()
        for episode_id, digest in zip(manifest.ids, manifest.hashes, strict=True):
            trim = trims.get(episode_id)
            fitting = [d for d in donors.get(digest, ()) if d.episode.episode_id == episode_id and d.covers(trim)]
            try:
                if fitting:
                    total, forms = fitting[0].episode.total, fitting[0].episode.forms
                else:
                    reader = self._open(episode_id, digest)
                    total = len(reader.steps)
                    forms = frozenset((a.name, tuple(a.shape), a.dtype) for s in reader.spec.streams for a in s.arrays)
                first, last = trim or (0, total - 1)
                if last >= total:
                    raise BagError(f"{episode_id}: is trimmed to steps {first} to {last}, the bag has {total}")
            except ApprenticeError as error:
                self._skip(episode_id, error)
                continue
            if self.wanted is not None and (missing := self.wanted - {f[0] for f in forms}):
                raise ApprenticeError(f"episode {episode_id} does not observe {', '.join(sorted(missing))}")
            plans.append(Plan(episode_id, digest, first, last - first + 1, total, forms, fitting))
        return plans

    def _names(self, plans: list[Plan]) -> set[str]:
        """The observation arrays: those asked for, or all that the episodes share in the same form."""
        shared = {f[0] for f in frozenset.intersection(*(p.forms for p in plans))} if plans else set()
        if self.wanted is None:
            return shared
        if plans and (missing := self.wanted - shared):
            raise ApprenticeError(f"the episodes do not agree on the form of {', '.join(sorted(missing))}")
        return self.wanted

    def _copied(self, plan: Plan, names: set[str]) -> Iterator[tuple[str, np.ndarray]] | None:
        """The episode's columns from an older cache; None where none has them all."""
        for donor in plan.donors:
            if not names <= donor.episode.columns:
                continue
            try:
                # One cache is open at a time: each mapped column holds a file descriptor.
                if self._open_cache is None or self._open_cache[0] != donor.cache:
                    self._open_cache = (donor.cache, donor.info.columns(donor.cache))
            except (OSError, ValueError) as error:
                log.info("not used: %s: %s", donor.cache, error)
                continue
            return donor.values(self._open_cache[1], names, plan.first, plan.steps)
        return None

    def _open(self, episode_id: str, digest: str) -> EpisodeReader:
        path = self.store.path(episode_id)
        reader = EpisodeReader(path)
        if reader.meta["hash"] != digest:
            raise BagError(f"{path}: is not the bag that the manifest names")
        return reader

    def _decode(self, plan: Plan, names: set[str]) -> Episode:
        episode = self._open(plan.episode_id, plan.hash).episode(names)
        if len(episode) != plan.total:
            raise BagError(f"{plan.episode_id}: has {len(episode)} steps, {plan.total} a moment ago")
        return episode

    def _write(self, plan: Plan, values: Iterator[tuple[str, np.ndarray]], at: int) -> frozenset[str]:
        """Puts an episode's columns at row `at`; returns their names."""
        own = set()
        for name, array in values:
            column = self._column(name, array)
            if column.shape[1:] != array.shape[1:]:
                raise ApprenticeError(f"episode {plan.episode_id}: {name} of shape {array.shape[1:]} among ones of {column.shape[1:]}")
            column[at : at + len(array)] = array
            own.add(name)
        return frozenset(own)

    def _column(self, name: str, like: np.ndarray) -> np.memmap:
        if name not in self.columns:
            self.files[name] = f"{len(self.files):04d}.npy"
            made = open_memmap(self.folder / self.files[name], mode="w+", dtype=like.dtype, shape=(self.rows, *like.shape[1:]))
            if name.startswith(("privileged/", "reward/")):
                made[:] = np.nan
            self.columns[name] = made
        return self.columns[name]
