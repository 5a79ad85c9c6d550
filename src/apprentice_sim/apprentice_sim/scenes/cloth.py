"""The basket with a towel in it (lift_cloth of spec 000)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_sim.bodies import Body, Part
from apprentice_sim.cloth.contacts import Boxes, box_of_part
from apprentice_sim.cloth.dynamics import Cloth, ClothDynamics
from apprentice_sim.cloth.in_world import tracked_names
from apprentice_sim.scenes.lift import CENTRE, LiftScene

RANDOM = "random"
"""the one evaluation set: every start is a random one (spec 000 section 2.13)"""
SPREAD = 0.09
"""how far from the basket's centre the towel is dropped, along each axis, m (ours)"""
HELD = 0.03, 0.13
"""least and greatest height at which it is held by one point before it is dropped, m (ours)"""
HANG, LIE = 0.8, 3.0
"""s that it hangs, and at most s until it must lie still (ours)"""
RAISE = 0.25
"""speed with which it is picked up, m/s (ours)"""

UNDER = 0.02
"""from the basket's floor down to the table, m"""


def _deeper(wall: Part) -> Part:
    (x, y, z), (ox, oy, oz) = wall.size, wall.offset
    return replace(wall, size=(x, y, z + UNDER), offset=(ox, oy, oz - UNDER / 2))


class ClothScene(LiftScene):
    """A towel of 16 cm, which was picked up at a random point and dropped: it lies in random folds."""

    objects = ()
    towel = Cloth("cloth", n=17, side=0.16, mass=0.03, thickness=0.004, colour=(0.13, 0.35, 0.80, 1.0))

    def fixtures(self) -> tuple[Body, ...]:
        """The basket, its walls drawn down to the table: a cloth would creep under them."""
        return tuple(replace(b, parts=tuple(_deeper(p) for p in b.parts)) if b.name == "walls" else b for b in super().fixtures())

    @property
    def tracked(self) -> tuple[str, ...]:
        return tracked_names(self.towel.name)

    def place(self, initial_state: str, seed: int | None) -> tuple[Body, ...]:
        if initial_state not in ("", RANDOM):
            raise ApprenticeError(f"task {self.task.name} has no start named {initial_state!r}: its starts are drawn by a seed")
        return ()

    def cloth(self, initial_state: str, seed: int | None) -> Cloth:
        """Picked up and dropped by the seed alone, until it lies."""
        rng = np.random.default_rng(seed)
        x, y = np.array(CENTRE) + rng.uniform(-SPREAD, SPREAD, 2)
        dynamics = ClothDynamics(self.towel.at(self.towel.flat(x, y, self.towel.thickness / 2, rng.uniform(-np.pi, np.pi))))
        parts = [(body, part) for body in self.fixtures() for part in body.parts]
        basket, nothing = Boxes([box_of_part(part, body.friction) for body, part in parts]), Boxes([])
        basket.place([body.pose for body, _ in parts])
        held, height = int(rng.integers(self.towel.n**2)), rng.uniform(*HELD)
        start, hand = dynamics.position[held].copy(), np.array([x, y, height])
        far = float(np.linalg.norm(hand - start))
        for i in range(int(HANG * dynamics.rate)):
            part = min(1.0, i * RAISE / dynamics.rate / far)
            dynamics.step(basket, nothing, (held, start + part * (hand - start)))
        for _ in range(int(LIE * dynamics.rate)):
            dynamics.step(basket, nothing)
            if dynamics.asleep:
                break
        return self.towel.at(dynamics.position)
