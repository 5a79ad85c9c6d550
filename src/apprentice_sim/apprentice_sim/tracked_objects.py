"""Object poses of a simulated cell as its cameras see them, in place of the simulation's truth (spec 001c checklist A25)."""

from __future__ import annotations

import math

import numpy as np

from apprentice_core.config import CellConfig, TaskConfig
from apprentice_core.spaces import Observation
from apprentice_core.tracking import TrackedPose, make_tracker, tracked_arrays
from apprentice_sim.renderer import Renderer, camera_model
from apprentice_sim.world import World

UNKNOWN = TrackedPose(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]), np.diag([1.0] * 3 + [math.pi**2] * 3))
"""of an object that was never seen; nothing acts on it, since it is lost"""


class TrackedObjects:
    """Draws the tracker's cameras and tracks; ConfigError where cell or task have nothing to track."""

    def __init__(self, world: World, cell: CellConfig, task: TaskConfig):
        names = cell.tracker.cameras if cell.tracker else ()
        self.renderer = Renderer(world, {n: cell.cameras[n] for n in names})
        self.tracker = make_tracker(cell, task, {n: camera_model(c) for n, c in self.renderer.cameras.items()})
        self._known: dict[str, TrackedPose] = {}
        self.restart()

    def restart(self) -> None:
        self.tracker.restart()
        self._known = dict.fromkeys(self.tracker.names, UNKNOWN)

    def look(self, stamp: float) -> tuple[Observation, tuple[str, ...]]:
        """(the arrays of `tracked_stream`, objects that are lost) at simulated time `stamp`, s. A lost one keeps what was last known."""
        found = self.tracker.update({n: self.renderer.render(n) for n in self.renderer.cameras}, stamp)
        self._known |= found
        return tracked_arrays(self._known), tuple(n for n in self.tracker.names if n not in found)
