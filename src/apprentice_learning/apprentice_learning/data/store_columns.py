"""The store's replay cache as columns that a view can select from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.cell import CellSpec
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.images import box_reduce
from apprentice_core.streams import TRACKED
from apprentice_learning.data.columns import REWARD_PREFIX, EpisodeInfo, goal_rows, reduced_name
from apprentice_learning.data.view import ViewConfig
from apprentice_learning.networks.vector_input import GOAL
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.manifest import Manifest
from apprentice_store.predictions import Predictions
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.reward_overrides import override
from apprentice_store.store import Store

log = logging.getLogger(__name__)
PREDICTED = "model/"


@dataclass(frozen=True)
class StoreColumns:
    """Satisfies `Columns`. `spec` is the cell that the newest episode was recorded on; `manifest` names the bags, for lineage.

    `reward_model` is the id of the model whose predictions the column `reward/model/<task>` holds, `unlabelled` the episodes without any.
    """

    columns: Mapping[str, np.ndarray]
    episode_starts: np.ndarray
    episodes: Sequence[EpisodeInfo]
    spec: CellSpec
    manifest: Manifest
    skipped: tuple[str, ...]
    reward_model: str = ""
    unlabelled: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, store: Store, where: str, names: Iterable[str], progress: Callable[[int, int], None] | None = None, reduction: int = 1,
        view: ViewConfig | None = None,
    ) -> StoreColumns:
        """The episodes that fulfil `where`, with the observation arrays `names`; ApprenticeError when there is none, or when their
        action spaces differ (the same numbers would mean different motions).

        Names under `tracked/` that the cell did not observe are the privileged arrays under a name of their own, not copied. With
        `reduction` the frames stand there once more, through the box filter of that side, in files beside the cache. Names under `goal/`
        are read from the bags' segments. Where the reward of `view` is 'model/<task>', predicted rewards of one model version are laid
        beside; ApprenticeError for episodes without, unless the view leaves them out.
        What a person has said stands in the place of recorded and predicted rewards alike (see apprentice_store.reward_overrides).
        """
        asked = tuple(names)
        goals, names = [n for n in asked if n.startswith(GOAL)], [n for n in asked if not n.startswith(GOAL)]
        manifest = store.manifest(where)
        if not len(manifest):
            raise ApprenticeError(f"{store.folder}: no episode fulfils {where!r}")
        poses = [n for n in names if n.startswith(TRACKED)]
        observed = _observed(store, manifest) if poses else frozenset()
        tracked = {n: f"privileged/{n.removeprefix(TRACKED)}" for n in poses if n not in observed}
        cache = ReplayCache.build(store, manifest, progress, [n for n in names if n not in tracked])
        # As of the manifest's revision: a later judgement belongs to a later manifest.
        known = {r.episode_id: r for r in store.catalogue.episodes(manifest.query, revision=manifest.revision)}
        rows = [known.get(i) for i in cache.episode_ids]
        infos = [
            EpisodeInfo(r.episode_id, r.source, r.task, r.success, r.terminated and not cached.cut, cached.cut, r.reason)
            for r, cached in zip(rows, cache.episodes, strict=True) if r is not None
        ]
        if len(infos) != len(cache.episode_ids):
            raise ApprenticeError(f"{store.folder}: the catalogue lost rows while the cache was built; run store repair")
        spaces = sorted({r.action_space for r in rows if r is not None})
        if len(spaces) != 1:
            raise ApprenticeError(f"{store.folder}: episodes of several action spaces ({', '.join(spaces)}); narrow the query")
        spec = EpisodeReader(store.path(cache.episode_ids[-1])).spec
        recorded_for = {info.episode_id: info.task for info in infos}
        columns = {
            name: override(column, cache, manifest.rewards, recorded_for) if name.startswith(REWARD_PREFIX) else column
            for name, column in cache.columns.items()
        }
        predicted, model, unlabelled = _predictions(store, cache, manifest, view)
        columns.update(predicted)
        for name, privileged in tracked.items():
            if privileged not in columns or not np.isfinite(columns[privileged][cache.episode_starts[:-1]]).all():
                raise ApprenticeError(f"{store.folder}: {name}: not every episode holds {privileged}; narrow the query")
            columns[name] = columns[privileged]
        columns.update(_goals(store, cache, goals))
        if reduction > 1:
            for name in (n for n in names if columns[n].ndim == 4):
                columns[reduced_name(name, reduction)] = cache.derive(
                    name, f"box{reduction}", name, lambda frames: np.stack([box_reduce(f, reduction) for f in frames])
                )
        return cls(columns, cache.episode_starts, infos, spec, manifest, cache.skipped, model, unlabelled)


def _observed(store: Store, manifest: Manifest) -> frozenset[str]:
    """Names of the arrays that the first readable episode observes."""
    for episode_id in manifest.ids:
        try:
            return frozenset(a.name for a in EpisodeReader(store.path(episode_id)).spec.observation)
        except BagError:
            continue  # the cache tells of it
    return frozenset()


def _goals(store: Store, cache: ReplayCache, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns `goal/<name>`, one entry a row; ApprenticeError when a segment lacks one."""
    parts: dict[str, list[np.ndarray]] = {n: [] for n in names}
    for cached in cache.episodes if names else ():
        episode = store.read(cached.episode_id, ())
        for name, rows in parts.items():
            try:
                rows.append(goal_rows(episode, name.removeprefix(GOAL))[cached.first : cached.first + cached.steps + 1])
            except KeyError as error:
                text = f"{name}: not every segment of {cached.episode_id} has it"
                raise ApprenticeError(f"{store.folder}: {text}; narrow the query") from error
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _predictions(
    store: Store, cache: ReplayCache, manifest: Manifest, view: ViewConfig | None
) -> tuple[Mapping[str, np.ndarray], str, tuple[str, ...]]:
    if view is None or not view.reward.startswith(PREDICTED):
        return {}, "", ()
    task = view.reward[len(PREDICTED) :]
    column, model, missing = Predictions(store).column(cache, task, view.reward_model, manifest.revision)
    if missing:
        text = f"{len(missing)} of {len(cache.episodes)} episodes have no reward predicted by {model} for task {task!r}"
        if view.unlabelled == "refuse":
            raise ApprenticeError(f"{store.folder}: {text}; run `apprentice relabel {task}`, or set view.unlabelled to leave_out")
        log.warning("left out: %s", text)
    said = override(column, cache, manifest.rewards, dict.fromkeys(cache.episode_ids, task))
    return {REWARD_PREFIX + view.reward: said}, model, missing
