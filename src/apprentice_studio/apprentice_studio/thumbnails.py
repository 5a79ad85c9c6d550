"""Small pictures of episodes, made once and kept beside the store's cache; the folder may be deleted at any time."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import numpy as np

from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.images import decode_png, encode_png, to_record_size
from apprentice_store.frames import middle_frame
from apprentice_studio.bags import BagCache
from apprentice_studio.problems import NotFound

HEIGHT = 72
"""pixels at most, by an integer box filter (ours)"""
DEPTH_RANGE = 2000
"""millimetres shown as white (ours)"""


def grey(image: np.ndarray) -> np.ndarray:
    """Depth in millimetres, uint16 [H, W], as grey uint8 [H, W]: black is near or unknown, white is 2 m and more."""
    return (np.minimum(image, DEPTH_RANGE).astype(np.uint32) * 255 // DEPTH_RANGE).astype(np.uint8)


def viewable(png: bytes) -> np.ndarray:
    """A recorded frame as an image that a screen can show; ValueError when it is none."""
    image = decode_png(png)
    return grey(image) if image.dtype == np.uint16 else image


class Thumbnails:
    """One PNG an episode: the middle frame of its first colour camera."""

    def __init__(self, folder: Path, bags: BagCache):
        self.folder, self.bags = folder, bags

    def kept(self, episode_id: str) -> bytes | None:
        """The picture if it is there and not older than the bag; neither catalogue nor bag is opened for it."""
        path = self.folder / f"{episode_id}.png"
        try:
            # A repaired bag is another one of the same name. Bags bear their episode's id (see Store.row_of).
            fresh = path.stat().st_mtime_ns >= (self.bags.store.folder / episode_id).stat().st_mtime_ns
            return path.read_bytes() if fresh else None
        except OSError:
            return None

    def prepare(self, count: int, stop: threading.Event) -> None:
        """Draws those of the newest `count` episodes that lack one, so that the first page is not the one that waits for them."""
        for row in self.bags.store.episodes(limit=count, newest_first=True):
            if stop.is_set():
                return
            if self.kept(row.episode_id) is None:
                with contextlib.suppress(ApprenticeError):  # told to whoever asks for it
                    self.make(row.episode_id)

    def make(self, episode_id: str) -> bytes:
        """Draws and keeps it; NotFound without an episode, bag or camera, BagError for a damaged bag."""
        png = self._make(self.bags.path(episode_id), episode_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{episode_id}.png"
        staging = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        staging.write_bytes(png)
        staging.replace(path)
        return png

    @staticmethod
    def _make(bag: Path, episode_id: str) -> bytes:
        frame = middle_frame(bag)
        if frame is None:
            raise NotFound(f"{episode_id}: was recorded without a camera")
        try:
            image = viewable(frame)
        except ValueError as error:
            raise BagError(f"{episode_id}: {error}") from error
        factor = -(-image.shape[0] // HEIGHT)
        size = (max(1, image.shape[0] // factor), max(1, image.shape[1] // factor))
        return encode_png(to_record_size(image, size), level=6)
