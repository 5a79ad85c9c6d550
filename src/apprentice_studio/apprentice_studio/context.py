"""What the routes work on: one per running server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from apprentice_store.catalogue import EpisodeRow
from apprentice_store.sketch_book import Curve, SketchBook
from apprentice_store.store import Store
from apprentice_studio.bags import BagCache
from apprentice_studio.problems import NotFound
from apprentice_studio.throughput import Throughput
from apprentice_studio.thumbnails import Thumbnails

Overlay = Callable[[str, str, str, str], bytes | None]
"""(task, set, start, camera) -> PNG of where the objects belong, None where there is no such picture"""
Predictions = Callable[[str, str], Sequence[Curve]]
"""(episode id, task) -> predicted rewards that are kept outside of the catalogue, one a model"""


@dataclass
class Studio:
    """The store and what is derived from it. `overlay` and `predictions` come from whoever starts the server: Studio knows no simulator."""

    store: Store
    overlay: Overlay | None = None
    predictions: Predictions | None = None
    token_needed: bool = False
    bags: BagCache = field(init=False)
    sketches: SketchBook = field(init=False)
    thumbnails: Thumbnails = field(init=False)
    throughput: Throughput = field(default_factory=Throughput)

    def __post_init__(self) -> None:
        self.bags = BagCache(self.store)
        self.sketches = SketchBook(self.store.catalogue)
        self.thumbnails = Thumbnails(self.store.folder / "cache" / "thumbnails", self.bags)

    def row(self, episode_id: str) -> EpisodeRow:
        """The episode's row; NotFound when there is none."""
        row = self.store.catalogue.get(episode_id)
        if row is None:
            raise NotFound(f"no episode {episode_id} in the catalogue")
        return row


async def _studio(request: HTTPConnection) -> Studio:
    # A coroutine, so that no thread is asked for a look-up; HTTPConnection, so that sockets may depend on it too.
    studio: Studio = request.app.state.studio
    return studio


Context = Annotated[Studio, Depends(_studio)]
