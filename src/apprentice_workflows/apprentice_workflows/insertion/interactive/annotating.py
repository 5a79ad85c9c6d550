"""The scripted annotator at Studio's queue: the demonstrations first, then own episodes as they come, over HTTP as a browser does it."""

from __future__ import annotations

from apprentice_core.config import load_task
from apprentice_core.tasks import make_task
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.rig import DEMOS, OWN
from apprentice_workflows.insertion.interactive.settings import TASK, InteractiveSettings
from apprentice_workflows.wheel.sketching import sketch_one
from apprentice_workflows.wheel.studio_client import StudioClient

QUEUE = 500
"""episodes that the queue is asked for at a time (ours)"""


class Annotator:
    """One `round` sketches what is due: every demonstration, and own episodes, newest first, up to one in `sketch_every`."""

    def __init__(self, store: Store, studio: StudioClient, s: InteractiveSettings):
        self.store, self.studio, self.s, self.task = store, studio, s, make_task(load_task(TASK))

    def due(self) -> list[str]:
        """Episode ids in the order in which they are to be sketched."""
        demos = self.studio.queue(TASK, "query", QUEUE, DEMOS)
        left = self.studio.queue(TASK, "query", QUEUE, OWN)
        own = len(self.store.episodes(OWN))
        wanted = own // self.s.sketch_every - (own - len(left))
        return [*demos, *left[: max(0, wanted)]]

    def round(self, most: int = QUEUE) -> int:
        """Sketches at most `most` of what is due; how many."""
        todo = self.due()[:most]
        for episode_id in todo:
            sketch_one(self.store, self.task, self.studio, TASK, episode_id)
        return len(todo)
