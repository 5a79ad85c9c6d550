"""Training columns: the bags of a manifest as memory-mapped arrays, each bag decoded once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_store.cache_builder import CacheBuilder, Progress, donors_in
from apprentice_store.cache_layout import INFO, CacheInfo, cache_key
from apprentice_store.manifest import Manifest
from apprentice_store.store import Store

VALID = "valid"


class ReplayCache:
    """Columns over rows; an episode of T steps has T + 1 rows, the last being the observation after the last action.

    columns[name]: observation arrays under their own names (frames uint8, the rest float32), `privileged/<name>`, `action/<kind>` float32,
    `discount` float32, `reward/<source>/<name>` float32 (NaN where none was given), `step` int32 (its number in the bag), `success` int8
    (of the whole recording: 1, 0, -1 not judged).
    At an episode's last row action is 0, discount 0 and reward NaN: it is nobody's transition. The transition at row i goes to row i + 1.
    An episode trimmed to steps first..last has the rows of these and of the observation after `last`. Where that cuts off its end
    (`episodes[k].cut`), the last transition keeps its recorded discount: the cut is a time-out, not a terminal.
    episode_starts: int64 [E + 1], the first row of each episode and the end. transitions: int64 [N], the rows that start one.
    """

    def __init__(self, path: Path):
        self.path = path
        info = CacheInfo.load(path)
        self.key, self.skipped, self.episodes = info.key, info.skipped, info.episodes
        self.episode_ids: tuple[str, ...] = tuple(e.episode_id for e in info.episodes)
        self.episode_starts = info.starts
        try:
            self.columns: dict[str, np.ndarray] = info.columns(path)
        except (OSError, ValueError) as error:
            raise ApprenticeError(f"{path}: is not a replay cache ({error}); delete it and build it again") from error
        last = np.zeros(len(self), dtype=bool)
        last[self.episode_starts[1:] - 1] = True
        self.transitions = np.flatnonzero(~last)
        self._last_row = np.repeat(self.episode_starts[1:] - 1, np.diff(self.episode_starts))

    def __len__(self) -> int:
        """Rows."""
        return int(self.episode_starts[-1])

    @classmethod
    def build(
        cls, store: Store, manifest: Manifest, progress: Progress | None = None, names: Iterable[str] | None = None
    ) -> ReplayCache:
        """Opens the cache of `manifest`, made now where it is not there yet. `names` limits the observation arrays.

        Bags that another cache of this store holds (with these arrays and steps, and the same decoder) are copied from there, so that a
        growing manifest decodes each bag once. It is made beside and renamed: an interrupted build leaves nothing that could be taken for
        a cache. Damaged bags, and bags whose hash is not the manifest's, are skipped with a warning; ApprenticeError when no episode is
        left.
        """
        wanted = None if names is None else tuple(sorted(names))
        key = cache_key(manifest, wanted)
        folder = store.folder / "cache"
        final = folder / key
        if not (final / INFO).exists():
            staging = folder / f".{key}.{os.getpid()}"
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                CacheBuilder(store, staging, wanted).run(manifest, key, donors_in(folder, manifest), progress)
                _swap_in(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return cls(final)

    def sample(self, indices: np.ndarray, names: Sequence[str], out: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Rows `indices` [B] of the columns `names`, into `out[name]` [B, ...] where given (of the column's dtype, C order).

        The next observation is `sample(indices + 1, ...)`. IndexError for a row that is not there.
        """
        return self._gather(self._rows(indices), names, out)

    def windows(
        self, rows: np.ndarray, length: int, names: Sequence[str], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Windows of `length` successive rows from each of `rows` [B] on: [B, length, ...] by name, into `out[name]` where given.

        They never cross an episode's end: `valid` (bool [B, length]) is false behind the episode's last row, which is repeated there.
        That last row is an observation without a step, so the transition at position t of a window is valid where `valid[:, t + 1]` is.
        IndexError for a row that is not there, ValueError for a length below 1.
        """
        if length < 1:
            raise ValueError(f"windows of {length} rows")
        start = self._rows(rows)
        index = start[:, None] + np.arange(length, dtype=np.intp)
        last = self._last_row[start][:, None]
        valid = np.less_equal(index, last, out=None if out is None else out.get(VALID))
        # Indices rise by one within a window, so the gather walks through each slice of a column as it lies in memory.
        return {**self._gather(np.minimum(index, last, out=index), names, out), VALID: valid}

    def _rows(self, indices: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(indices, dtype=np.intp)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"row {int(rows.min())} or {int(rows.max())} is not among {len(self)}")
        return rows

    def _gather(self, rows: np.ndarray, names: Sequence[str], out: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        # With mode "raise" numpy gathers into a buffer of its own first, which halves the speed; the bounds are checked before.
        return {n: np.take(self.columns[n], rows, axis=0, out=None if out is None else out[n], mode="clip") for n in names}

    def batch(self, size: int, names: Sequence[str], length: int | None = None) -> dict[str, np.ndarray]:
        """Empty arrays to sample into, made once and used again; with `length` for `windows`."""
        shape = (size,) if length is None else (size, length)
        made = {n: np.empty((*shape, *self.columns[n].shape[1:]), self.columns[n].dtype) for n in names}
        return made if length is None else {**made, VALID: np.empty(shape, dtype=bool)}

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

    def derive(self, name: str, version: str, source: str, function: Callable[[np.ndarray], np.ndarray], chunk: int = 512) -> np.ndarray:
        """The derived column that `function` makes of the rows of column `source`, chunk by chunk; made once, then found again."""
        path = self._derived_path(name, version)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            like = function(self.columns[source][:1])
            staging = path.with_name(f".{path.name}.{os.getpid()}.npy")
            made = np.lib.format.open_memmap(staging, mode="w+", dtype=like.dtype, shape=(len(self), *like.shape[1:]))
            for start in range(0, len(self), chunk):
                made[start : start + chunk] = function(self.columns[source][start : start + chunk])
            made.flush()
            staging.replace(path)
        return np.load(path, mmap_mode="r")

    def _derived_path(self, name: str, model_hash: str) -> Path:
        digest = hashlib.sha256(f"{name}\0{model_hash}".encode()).hexdigest()[:24]
        return self.path / "derived" / f"{digest}.npy"


def _swap_in(staging: Path, final: Path) -> None:
    try:
        staging.rename(final)
    except OSError:
        # Another process made the same cache meanwhile: both hold the same bits.
        if not (final / INFO).exists():
            raise
