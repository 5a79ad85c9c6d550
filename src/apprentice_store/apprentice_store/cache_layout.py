"""What a replay cache folder holds besides its columns: `cache.json`, and the key that names the folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably
from apprentice_store.manifest import Manifest

CACHE_SCHEMA = 2
DECODER = "apprentice_store.bag_reader/1"
"""raised whenever the same bag would decode to other bits"""
INFO = "cache.json"
ArrayForm = tuple[str, tuple[int, ...], str]
"""name, shape, dtype of an observation array"""


def of_steps(column: str) -> bool:
    """Whether a column belongs to steps, of which an episode has one less than rows."""
    return column == "discount" or column.startswith(("action/", "reward/"))


@dataclass(frozen=True)
class CachedEpisode:
    """`steps` steps from step `first` on, of the `total` of the bag with this hash; they lie in `steps + 1` rows.

    `columns`: those that this episode itself has values in. `forms`: all arrays that its cell observes, also those not cached.
    """

    episode_id: str
    hash: str
    first: int
    steps: int
    total: int
    columns: frozenset[str]
    forms: frozenset[ArrayForm]

    @property
    def cut(self) -> bool:
        """Its end was trimmed away: the last step here is no ending."""
        return self.first + self.steps < self.total


@dataclass(frozen=True)
class CacheInfo:
    """`files`: column name to file name; `skipped`: ids of the manifest that could not be read."""

    key: str
    manifest: str
    episodes: tuple[CachedEpisode, ...]
    skipped: tuple[str, ...]
    files: dict[str, str]

    @property
    def starts(self) -> np.ndarray:
        """int64 [E + 1]: first row of each episode, and the end."""
        return np.concatenate(([0], np.cumsum([e.steps + 1 for e in self.episodes]))).astype(np.int64)

    def columns(self, folder: Path) -> dict[str, np.ndarray]:
        """Memory-mapped, as many rows as there are; OSError or ValueError when a file is missing or cut off."""
        rows = int(self.starts[-1])
        columns = {name: np.load(folder / file, mmap_mode="r")[:rows] for name, file in self.files.items()}
        for name, column in columns.items():
            if len(column) != rows:
                raise ValueError(f"{name}: {len(column)} rows, {rows} expected")
        return columns

    def save(self, folder: Path) -> None:
        # Episodes of a cell mostly agree in columns and forms, so these are written once and named by number.
        columns, forms = _Numbered(), _Numbered()
        episodes = [
            [e.episode_id, e.hash, e.first, e.steps, e.total, columns.number(e.columns), forms.number(e.forms)] for e in self.episodes
        ]
        write_durably(folder / INFO, json.dumps({
            "schema": CACHE_SCHEMA, "decoder": DECODER, "key": self.key, "manifest": self.manifest, "episodes": episodes,
            "skipped": self.skipped, "columns": self.files, "column_sets": columns.sets, "forms": forms.sets,
        }))

    @classmethod
    def load(cls, folder: Path) -> CacheInfo:
        """ApprenticeError when the folder is no cache of this schema and decoder."""
        try:
            raw = json.loads((folder / INFO).read_text(encoding="utf-8"))
            if (raw["schema"], raw["decoder"]) != (CACHE_SCHEMA, DECODER):
                raise ValueError(f"schema {raw['schema']!r}, decoder {raw['decoder']!r}")
            sets = [frozenset(map(str, s)) for s in raw["column_sets"]]
            forms = [frozenset((str(n), tuple(map(int, shape)), str(d)) for n, shape, d in s) for s in raw["forms"]]
            episodes = tuple(
                CachedEpisode(str(i), str(h), int(first), int(steps), int(total), sets[c], forms[f])
                for i, h, first, steps, total, c, f in raw["episodes"]
            )
            files = {str(k): str(v) for k, v in raw["columns"].items()}
            return cls(str(raw["key"]), str(raw["manifest"]), episodes, tuple(map(str, raw["skipped"])), files)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ApprenticeError(f"{folder}: is not a replay cache ({error}); delete it and build it again") from error


class _Numbered:
    """Sets in the order in which they first came."""

    def __init__(self) -> None:
        self.sets: list[list] = []
        self._numbers: dict[frozenset, int] = {}

    def number(self, one: frozenset) -> int:
        if one not in self._numbers:
            self._numbers[one] = len(self.sets)
            self.sets.append(sorted(one))
        return self._numbers[one]


def cache_key(manifest: Manifest, names: Iterable[str] | None) -> str:
    """Over the bags' hashes, their trims, the decoder and the layout: anything that would change a bit of the columns."""
    wanted = None if names is None else sorted(names)
    content = json.dumps([CACHE_SCHEMA, DECODER, manifest.ids, manifest.hashes, manifest.trims, wanted])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
