"""Open bags, a few at a time: a frame is then one look into a mapped file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.frames import EpisodeFrames
from apprentice_store.store import Store
from apprentice_studio.problems import NotFound

OPEN_BAGS = 16
"""episodes kept open (ours): a page of thumbnails and the one that is sketched"""


class BagCache:
    """The least recently used is let go. Threads may ask at once: one opens a bag, the others wait for it."""

    def __init__(self, store: Store, size: int = OPEN_BAGS):
        self.store, self.size = store, size
        self._open: OrderedDict[str, EpisodeFrames] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._open)

    def path(self, episode_id: str) -> Path:
        """The bag's folder; NotFound when the catalogue has no such episode, or has it and the bag is gone."""
        try:
            path = self.store.path(episode_id)
        except ApprenticeError as error:
            raise NotFound(str(error)) from error
        if not path.is_dir():
            raise NotFound(f"{episode_id}: its bag is missing from the data folder; `apprentice store check` says what else is")
        return path

    def get(self, episode_id: str) -> EpisodeFrames:
        """The episode's frames; NotFound, or BagError for a damaged bag."""
        path = self.path(episode_id)
        with self._lock:
            found = self._open.get(episode_id)
            if found is not None:
                self._open.move_to_end(episode_id)
                return found
            opening = self._opening.setdefault(episode_id, threading.Lock())
        with opening:
            with self._lock:
                if episode_id in self._open:
                    return self._open[episode_id]
            try:
                made = EpisodeFrames(EpisodeReader(path))
            finally:
                with self._lock:
                    self._opening.pop(episode_id, None)
            with self._lock:
                self._open[episode_id] = made
                while len(self._open) > self.size:
                    self._open.popitem(last=False)
            return made
