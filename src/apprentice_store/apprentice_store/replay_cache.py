"""Training columns: every bag of a manifest decoded once into memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_store.bag_metadata import write_durably
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.manifest import Manifest
from apprentice_store.store import Store

log = logging.getLogger(__name__)
CACHE_SCHEMA = 1
DECODER = "apprentice_store.bag_reader/1"
"""raised whenever the same bag would decode to other bits"""
Progress = Callable[[int, int], None]
"""(episodes done, episodes in all)"""


class ReplayCache:
    """Columns over rows; an episode of T steps has T + 1 rows, the last being the observation after the last action.

    columns[name]: observation arrays under their own names (frames uint8, the rest float32), `privileged/<name>`, `action/<kind>` float32,
    `discount` float32, `reward/<source>/<name>` float32 (NaN where none was given), `step` int32, `success` int8 (1, 0, -1 not judged).
    At an episode's last row action is 0, discount 0 and reward NaN: it is nobody's transition. The transition at row i goes to row i + 1.
    episode_starts: int64 [E + 1], the first row of each episode and the end. transitions: int64 [N], the rows that start one.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            info = json.loads((path / "cache.json").read_text(encoding="utf-8"))
            self.episode_ids: tuple[str, ...] = tuple(info["episode_ids"])
            self.skipped: tuple[str, ...] = tuple(info["skipped"])
            self.key: str = info["key"]
            self.episode_starts = np.array(info["episode_starts"], dtype=np.int64)
            rows = int(self.episode_starts[-1])
            self.columns: dict[str, np.ndarray] = {n: np.load(path / f, mmap_mode="r")[:rows] for n, f in info["columns"].items()}
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ApprenticeError(f"{path}: is not a replay cache ({error}); delete it and build it again") from error
        last = np.zeros(rows, dtype=bool)
        last[self.episode_starts[1:] - 1] = True
        self.transitions = np.flatnonzero(~last)

    def __len__(self) -> int:
        """Rows."""
        return int(self.episode_starts[-1])

    @classmethod
    def build(
        cls, store: Store, manifest: Manifest, progress: Progress | None = None, names: Iterable[str] | None = None
    ) -> ReplayCache:
        """Opens the cache of `manifest`, made now where it is not there yet. `names` limits the observation arrays.

        It is made beside and renamed, so an interrupted build leaves nothing that could be taken for a cache. Damaged bags, and bags
        whose hash is not the manifest's, are skipped with a warning; ApprenticeError when no episode is left.
        """
        wanted = None if names is None else tuple(sorted(names))
        key = cache_key(manifest, wanted)
        final = store.folder / "cache" / key
        if not (final / "cache.json").exists():
            staging = store.folder / "cache" / f".{key}.{os.getpid()}"
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                _Builder(store, staging, wanted).run(manifest, key, progress)
                _swap_in(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return cls(final)

    def sample(self, indices: np.ndarray, names: Sequence[str], out: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Rows `indices` [B] of the columns `names`, into `out[name]` [B, ...] where given (of the column's dtype, C order).

        The next observation is `sample(indices + 1, ...)`. IndexError for a row that is not there.
        """
        rows = np.ascontiguousarray(indices, dtype=np.intp)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"row {int(rows.min())} or {int(rows.max())} is not among {len(self)}")
        result = {}
        for name in names:
            column = self.columns[name]
            # With mode "raise" numpy gathers into a buffer of its own first, which halves the speed; the bounds are checked above.
            target = None if out is None else out[name]
            result[name] = np.take(column, rows, axis=0, out=target, mode="clip")
        return result

    def batch(self, size: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Empty arrays to sample into, made once and used again."""
        return {n: np.empty((size, *self.columns[n].shape[1:]), self.columns[n].dtype) for n in names}

    def derived(self, name: str, model_hash: str) -> np.ndarray | None:
        """A column that a model computed (latents, predicted rewards), or None; versions are never mixed, each is a file of its own."""
        path = self._derived_path(name, model_hash)
        return np.load(path, mmap_mode="r") if path.exists() else None

    def add_derived(self, name: str, model_hash: str, values: np.ndarray) -> np.ndarray:
        """Stores a derived column, one entry a row; returns it memory-mapped."""
        if len(values) != len(self):
            raise ApprenticeError(f"derived column {name}: {len(values)} entries for {len(self)} rows")
        path = self._derived_path(name, model_hash)
        path.parent.mkdir(exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}.npy")
        np.save(staging, values, allow_pickle=False)
        staging.replace(path)
        return np.load(path, mmap_mode="r")

    def _derived_path(self, name: str, model_hash: str) -> Path:
        digest = hashlib.sha256(f"{name}\0{model_hash}".encode()).hexdigest()[:24]
        return self.path / "derived" / f"{digest}.npy"


def cache_key(manifest: Manifest, names: tuple[str, ...] | None) -> str:
    """Over the bags' hashes, the decoder and the layout: anything that would change a bit of the columns."""
    content = json.dumps([CACHE_SCHEMA, DECODER, manifest.ids, manifest.hashes, names])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _swap_in(staging: Path, final: Path) -> None:
    try:
        staging.rename(final)
    except OSError:
        # Another process made the same cache meanwhile: both hold the same bits.
        if not (final / "cache.json").exists():
            raise


class _Builder:
    def __init__(self, store: Store, folder: Path, names: tuple[str, ...] | None):
        self.store, self.folder, self.names = store, folder, names
        self.columns: dict[str, np.memmap] = {}
        self.files: dict[str, str] = {}
        self.rows = 0

    def _plan(self, manifest: Manifest) -> tuple[list[Path], list[str], list[str]]:
        """Bags that read, their ids, the ids skipped; sets the observation names that all of them share."""
        paths, ids, skipped, shared = [], [], [], None
        for episode_id, digest in zip(manifest.ids, manifest.hashes, strict=True):
            try:
                path = self.store.path(episode_id)
                reader = EpisodeReader(path)
                if reader.meta["hash"] != digest:
                    raise BagError(f"{path}: is not the bag that the manifest names")
            except ApprenticeError as error:
                log.warning("skipped: %s", error)
                skipped.append(episode_id)
                continue
            forms = {(a.name, a.shape, a.dtype) for s in reader.spec.streams for a in s.arrays}
            if self.names is not None and (missing := set(self.names) - {f[0] for f in forms}):
                raise ApprenticeError(f"episode {episode_id} does not observe {', '.join(sorted(missing))}")
            shared = forms if shared is None else shared & forms
            self.rows += len(reader.steps) + 1
            paths.append(path)
            ids.append(episode_id)
        common = {f[0] for f in shared or ()}
        if self.names is not None and (missing := set(self.names) - common):
            raise ApprenticeError(f"the episodes do not agree on the form of {', '.join(sorted(missing))}")
        self.names = self.names or tuple(sorted(common))
        return paths, ids, skipped

    def run(self, manifest: Manifest, key: str, progress: Progress | None) -> None:
        paths, ids, skipped = self._plan(manifest)
        starts, kept, at = [0], [], 0
        for done, (path, episode_id) in enumerate(zip(paths, ids, strict=True)):
            try:
                episode = EpisodeReader(path).episode(self.names)
            except BagError as error:
                log.warning("skipped: %s", error)
                skipped.append(episode_id)
                continue
            self._write(episode, at)
            at += len(episode) + 1
            starts.append(at)
            kept.append(episode_id)
            if progress is not None:
                progress(done + 1, len(paths))
        if not kept:
            raise ApprenticeError(f"none of the {len(manifest)} episodes of the manifest can be read")
        for column in self.columns.values():
            column.flush()
        write_durably(self.folder / "cache.json", json.dumps({
            "schema": CACHE_SCHEMA, "decoder": DECODER, "key": key, "manifest": manifest.hash, "episode_ids": kept, "skipped": skipped,
            "episode_starts": starts, "columns": self.files,
        }))

    def _column(self, name: str, shape: tuple[int, ...], dtype: Any, fill: float = 0) -> np.memmap:
        if name not in self.columns:
            self.files[name] = f"{len(self.files):04d}.npy"
            made = open_memmap(self.folder / self.files[name], mode="w+", dtype=np.dtype(dtype), shape=(self.rows, *shape))
            if fill != 0:
                made[:] = fill
            self.columns[name] = made
        return self.columns[name]

    def _write(self, episode: Episode, at: int) -> None:
        steps = len(episode)
        here, acted = slice(at, at + steps + 1), slice(at, at + steps)
        for name, values in episode.observations.items():
            self._column(name, values.shape[1:], values.dtype)[here] = values
        for name, values in episode.privileged.items():
            self._column(f"privileged/{name}", values.shape[1:], values.dtype, np.nan)[here] = values
        for kind, values in episode.actions.items():
            column = self._column(f"action/{kind}", values.shape[1:], np.float32)
            if column.shape[1:] != values.shape[1:]:
                raise ApprenticeError(f"episode {episode.episode_id}: actions of {values.shape[1]} numbers among ones of {column.shape[1]}")
            column[acted] = values
        self._column("discount", (), np.float32)[acted] = episode.discount
        for name, values in episode.rewards.items():
            self._column(f"reward/{name}", (), np.float32, np.nan)[acted] = values
        self._column("step", (), np.int32)[here] = np.arange(steps + 1)
        self._column("success", (), np.int8)[here] = -1 if episode.outcome.success is None else int(episode.outcome.success)
