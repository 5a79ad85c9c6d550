"""A WidowX before a tray: one object, one open container to put it into."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apprentice_sim.bodies import Body, Part
from apprentice_sim.scenes.scene import ObjectChoice, Scene

TRAY = (0.30, 0.0, 0.30, 0.38)
"""centre x, y and inner size x, y, m"""
CONTAINER = (0.30, -0.085, 0.11, 0.11, 0.035)
"""centre x, y, inner size x, y and height of its rim, m; it is fixed to the tray"""


def open_box(inner_x: float, inner_y: float, height: float, thickness: float) -> tuple[Part, ...]:
    """Floor and four walls around the origin, floor's upper side at z = thickness."""
    ox, oy, t = inner_x / 2 + thickness / 2, inner_y / 2 + thickness / 2, thickness
    return (
        Part("box", (inner_x, inner_y, t), (0.0, 0.0, t / 2)),
        Part("box", (inner_x + 2 * t, t, height), (0.0, oy, height / 2)),
        Part("box", (inner_x + 2 * t, t, height), (0.0, -oy, height / 2)),
        Part("box", (t, inner_y, height), (ox, 0.0, height / 2)),
        Part("box", (t, inner_y, height), (-ox, 0.0, height / 2)),
    )


class PickPlaceScene(Scene):
    """The object stands in the half of the tray that the container leaves free."""

    objects = (ObjectChoice("object", "orange", {"cube": 3.0, "cylinder": 1.0, "octagon": 1.0, "house": 1.0}),)
    region = (0.24, 0.36, 0.035, 0.10)
    finger_room = 0.02

    def fixtures(self) -> tuple[Body, ...]:
        x, y, sx, sy = TRAY
        cx, cy, ix, iy, rim = CONTAINER
        tray = tuple(Part(p.kind, p.size, (p.offset[0], p.offset[1], p.offset[2] - 0.006)) for p in open_box(sx, sy, 0.018, 0.006))
        return (
            Body("table", "table", (Part("box", (0.8, 0.9, 0.04)),), (0.42, 0.40, 0.38, 1.0)).at(x + 0.05, y, -0.03, 0.0),
            Body("tray", "tray", tray, (0.75, 0.76, 0.78, 1.0), friction=0.6).at(x, y, 0.0, 0.0),
            Body("container", "container", open_box(ix, iy, rim, 0.004), (0.15, 0.30, 0.60, 1.0), friction=0.6).at(cx, cy, 0.0, 0.0),
        )

    def spots_allowed(self, spots: Mapping[str, np.ndarray]) -> bool:
        wall = CONTAINER[1] + CONTAINER[3] / 2
        return bool(spots["object"][1] > wall + 0.05)

