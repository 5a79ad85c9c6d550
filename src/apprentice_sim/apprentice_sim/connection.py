"""The electrical signal of a simulated connector: the plug is deep enough and touches the contacts (spec 001c section 3.3)."""

from __future__ import annotations

import logging

import numpy as np
import pybullet as p

from apprentice_sim.connectors.connector import REPLACE_CYCLES
from apprentice_sim.scenes.insertion import InsertionScene
from apprentice_sim.world import World

LOG = logging.getLogger(__name__)

DEPTH = 0.0015
"""m above the floor of the socket from where the contacts overlap (ours)"""
ASIDE = 0.0015
"""m beside its axis, where no well lets a plug stand (ours)"""


class ConnectionSensor:
    """Reads a world whose scene is `insertion`; counts matings for the scene's wear.

    `distance` is the other detector (checklist B24): the plug's error from geometry alone.
    """

    def __init__(self, world: World):
        self.world = world
        self.last = False

    def distance(self) -> np.ndarray:
        """Tip of the plug minus floor of the socket, base frame, m, [3]."""
        objects = self.world.objects()
        return objects["plug"][0][:3] - objects["socket"][0][:3]

    def connected(self) -> bool:
        """Now. A change from open to closed is a mating and wears the contacts."""
        dx, dy, dz = self.distance().tolist()
        now = dz < DEPTH and max(abs(dx), abs(dy)) < ASIDE and self._touches()
        if now and not self.last:
            scene = self.world.scene
            assert isinstance(scene, InsertionScene)
            scene.cycles += 1
            if scene.cycles == REPLACE_CYCLES:
                LOG.warning("connector %s has had %d matings: replace its adapter", scene.connector.name, scene.cycles)
        self.last = now
        return now

    def _touches(self) -> bool:
        names = {b.name for b in self.world.bodies}
        other = "contacts" if "contacts" in names else "socket"
        return bool(p.getContactPoints(self.world.uid("plug"), self.world.uid(other), physicsClientId=self.world.client))


def make_connection(world: World) -> ConnectionSensor | None:
    """The sensor of a world that has a plug and a socket, else None."""
    return ConnectionSensor(world) if isinstance(world.scene, InsertionScene) else None
