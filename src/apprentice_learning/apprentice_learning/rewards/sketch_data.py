"""Batches of sketched frames: E sketches x F frames of each, episodes split once for training and validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apprentice_core.errors import ApprenticeError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.data.augmentation import colour_jitter, random_shift
from apprentice_learning.data.columns import Columns, observation_specs
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_store.replay_cache import ReplayCache
from apprentice_store.sketches import SketchSet, sketches
from apprentice_store.store import Store


@dataclass(frozen=True)
class Curve:
    """One sketch: `rows` int64 [n] of the columns, `values` float32 [n] beside them."""

    episode_id: str
    rows: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class SketchedColumns:
    """Columns of the sketched episodes, their curves, and what they come from. `skipped` are ids of bags that could not be read."""

    columns: Columns
    curves: tuple[Curve, ...]
    sketches: SketchSet
    manifest: str
    skipped: tuple[str, ...]

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        return observation_specs(self.columns)

    @classmethod
    def open(
        cls, store: Store, task: str, names: tuple[str, ...], revision: int | None = None, progress: Any = None, where: str = ""
    ) -> SketchedColumns:
        """The episodes sketched for `task` at `revision`; ApprenticeError when there is none that can be learned from."""
        known = sketches(store.catalogue, task, revision)
        query = f"sketch = '{task}'" + (f" and ({where})" if where else "")
        manifest = store.manifest(query, revision=known.revision)
        if not known.sketches or not len(manifest):
            why = f"; {len(known.refused)} refused: {next(iter(known.refused.values()))}" if known.refused else ""
            raise ApprenticeError(f"{store.folder}: no episode is sketched for task {task!r} at revision {known.revision}{why}")
        cache = ReplayCache.build(store, manifest, progress, names)
        at = {e.episode_id: (e, int(start)) for e, start in zip(cache.episodes, cache.episode_starts, strict=False)}
        curves = []
        for sketch in known.sketches:
            if sketch.episode_id not in at:
                continue
            episode, start = at[sketch.episode_id]
            rows = np.arange(start, start + episode.steps + 1, dtype=np.int64)
            curves.append(Curve(sketch.episode_id, rows, sketch.values[episode.first : episode.first + episode.steps + 1]))
        used = {e.episode_id for e in cache.episodes}
        kept = SketchSet(task, known.revision, tuple(s for s in known.sketches if s.episode_id in used), known.refused)
        if not curves:
            raise ApprenticeError(f"{store.folder}: none of the sketched episodes of task {task!r} fulfils {query!r}")
        return cls(_CacheColumns(cache), tuple(curves), kept, manifest.hash, cache.skipped)


class _CacheColumns:
    """A replay cache as `Columns`, without the facts that only a view of transitions needs."""

    def __init__(self, cache: ReplayCache):
        self.columns = {n: a for n, a in cache.columns.items() if n not in ("step", "success")}
        self.episode_starts = cache.episode_starts
        self.episodes = ()


@dataclass(frozen=True)
class SketchBatch:
    """`observation` has E x F entries, sketch after sketch; `sketch` float32 [E, F]."""

    observation: dict[str, Tensor]
    sketch: Tensor


def split(curves: tuple[Curve, ...], share: float, seed: int) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """(training, validation): whole episodes, so that two people's curves of one never stand on both sides; at least one trains."""
    episodes = sorted({c.episode_id for c in curves})
    order = [episodes[i] for i in np.random.default_rng([seed, 1]).permutation(len(episodes))]
    held = set(order[: min(max(round(len(order) * share), int(share > 0)), len(order) - 1)])
    return tuple(c for c in curves if c.episode_id not in held), tuple(c for c in curves if c.episode_id in held)


class SketchSampler:
    """Draws sketches without replacement where there are enough, and frames of each likewise; images are shifted and jittered."""

    def __init__(self, data: SketchedColumns, inputs: tuple[str, ...], config: RewardTrainConfig, seed: int):
        self.data, self.inputs, self.config = data, inputs, config
        self.train, self.validation = split(data.curves, config.validation, config.seed)
        self.generator = np.random.default_rng([seed, 2])

    def sample(self) -> SketchBatch:
        e, f = self.config.episodes, self.config.frames
        chosen = self.generator.choice(len(self.train), e, replace=len(self.train) < e)
        rows, values = np.empty((e, f), np.int64), np.empty((e, f), np.float32)
        for k, index in enumerate(chosen):
            curve = self.train[index]
            frames = self.generator.choice(len(curve.rows), f, replace=len(curve.rows) < f)
            rows[k], values[k] = curve.rows[frames], curve.values[frames]
        return SketchBatch(self.observation(rows.reshape(-1), augment=True), torch.from_numpy(values))

    def held_out(self) -> Iterator[SketchBatch]:
        """One batch [1, F] a held-out sketch, F at most `validation_frames`; draws no random number."""
        for curve in self.validation:
            n = min(len(curve.rows), self.config.validation_frames)
            frames = np.linspace(0, len(curve.rows) - 1, n).round().astype(np.int64)
            values = torch.from_numpy(curve.values[frames])[None]
            yield SketchBatch(self.observation(curve.rows[frames], augment=False), values)

    def observation(self, rows: np.ndarray, augment: bool) -> dict[str, Tensor]:
        """What the network reads of these rows: name -> [N, ...]."""
        out = {}
        for name in self.inputs:
            array = np.take(self.data.columns.columns[name], rows, axis=0)
            if augment and array.ndim == 4:
                if self.config.random_shift:
                    array = random_shift(array, self.config.random_shift, self.generator, np.empty_like(array))
                if self.config.brightness or self.config.contrast:
                    array = colour_jitter(array, self.config.brightness, self.config.contrast, self.generator)
            out[name] = torch.from_numpy(array)
        return out
