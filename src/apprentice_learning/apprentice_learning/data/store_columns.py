"""The store's replay cache as columns that a view can select from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.cell import CellSpec
from apprentice_core.errors import ApprenticeError
from apprentice_learning.data.columns import EpisodeInfo
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.manifest import Manifest
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.store import Store


@dataclass(frozen=True)
class StoreColumns:
    """Satisfies `Columns`. `spec` is the cell that the newest episode was recorded on; `manifest` names the bags, for lineage."""

    columns: Mapping[str, np.ndarray]
    episode_starts: np.ndarray
    episodes: Sequence[EpisodeInfo]
    spec: CellSpec
    manifest: Manifest
    skipped: tuple[str, ...]

    @classmethod
    def open(
        cls, store: Store, where: str, names: Iterable[str], progress: Callable[[int, int], None] | None = None
    ) -> StoreColumns:
        """The episodes that fulfil `where`, with the observation arrays `names`; ApprenticeError when there is none, or when their
        action spaces differ (the same numbers would mean different motions)."""
        manifest = store.manifest(where)
        if not len(manifest):
            raise ApprenticeError(f"{store.folder}: no episode fulfils {where!r}")
        cache = ReplayCache.build(store, manifest, progress, names)
        # As of the manifest's revision: a later judgement belongs to a later manifest.
        known = {r.episode_id: r for r in store.catalogue.episodes(manifest.query, revision=manifest.revision)}
        rows = [known.get(i) for i in cache.episode_ids]
        infos = [
            EpisodeInfo(r.episode_id, r.source, r.task, r.success, r.terminated and not cached.cut, cached.cut)
            for r, cached in zip(rows, cache.episodes, strict=True) if r is not None
        ]
        if len(infos) != len(cache.episode_ids):
            raise ApprenticeError(f"{store.folder}: the catalogue lost rows while the cache was built; run store repair")
        spaces = sorted({r.action_space for r in rows if r is not None})
        if len(spaces) != 1:
            raise ApprenticeError(f"{store.folder}: episodes of several action spaces ({', '.join(spaces)}); narrow the query")
        spec = EpisodeReader(store.path(cache.episode_ids[-1])).spec
        return cls(cache.columns, cache.episode_starts, infos, spec, manifest, cache.skipped)
