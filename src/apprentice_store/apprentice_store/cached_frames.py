"""Whole episodes that a replay cache of this store holds already: relabelling need not decode their bags again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_store.cache_builder import Donor, donors_in
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.manifest import Manifest
from apprentice_store.store import Store


@dataclass(frozen=True)
class CachedFrames:
    """Rows `start` to `start + frames` of the columns in `folder`; small, so that it travels to another process."""

    folder: Path
    start: int
    frames: int
    files: tuple[tuple[str, str], ...]

    def read(self) -> dict[str, np.ndarray]:
        """name -> [frames, ...], memory-mapped; ApprenticeError when the cache has gone or is cut off."""
        try:
            # Copy on write: torch wants arrays that it might write to, and the cache's are for reading.
            out = {name: np.load(self.folder / file, mmap_mode="c")[self.start : self.start + self.frames] for name, file in self.files}
        except (OSError, ValueError) as error:
            raise ApprenticeError(f"{self.folder}: cannot be read ({error})") from error
        if any(len(array) != self.frames for array in out.values()):
            raise ApprenticeError(f"{self.folder}: has fewer rows than it says")
        return out


def cached_frames(store: Store, rows: Iterable[EpisodeRow], names: Iterable[str]) -> dict[str, CachedFrames]:
    """By episode id, where every frame of it lies with all of the columns `names`; episodes that no cache holds whole are left out."""
    wanted, found = tuple(names), {}
    known = {r.episode_id: r for r in rows}
    manifest = Manifest(tuple(known), tuple(r.hash for r in known.values()), "", 0)
    for donors in donors_in(store.folder / "cache", manifest).values():
        for donor in donors:
            row = known.get(donor.episode.episode_id)
            if row is not None and row.episode_id not in found and _holds(donor, row, wanted):
                files = tuple((n, donor.info.files[n]) for n in wanted)
                found[row.episode_id] = CachedFrames(donor.cache, donor.row, row.steps + 1, files)
    return found


def _holds(donor: Donor, row: EpisodeRow, names: tuple[str, ...]) -> bool:
    e = donor.episode
    whole = e.first == 0 and e.steps == e.total == row.steps
    return whole and e.hash == row.hash and set(names) <= e.columns and set(names) <= donor.info.files.keys()
