"""The catalogue of blocks: 3 to 5 cm, upright faces below, so that a parallel gripper finds two opposite ones every quarter turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from apprentice_sim.bodies import Body, Part, extent, hull_part

COLOURS = {
    "red": (0.85, 0.08, 0.08, 1.0),
    "green": (0.08, 0.70, 0.12, 1.0),
    "blue": (0.10, 0.22, 0.85, 1.0),
    "orange": (0.95, 0.50, 0.05, 1.0),
}
DENSITY = 900.0
"""kg/m^3, beech or soft plastic (ours): 50 to 100 g for these sizes"""


@dataclass(frozen=True)
class Shape:
    """`yaw_range`: random yaw is drawn within +- this, the shape's symmetry, so that what looks alike stands alike."""

    name: str
    parts: tuple[Part, ...]
    mass: float
    yaw_range: float = math.pi / 4

    def body(self, name: str, colour: str) -> Body:
        return Body(name, self.name, self.parts, COLOURS[colour], mass=self.mass, friction=1.0)

    @property
    def rest_height(self) -> float:
        """Height of the body frame above the floor when it stands, m."""
        return float(-extent(self.parts)[0][2])


def _box(name: str, x: float, y: float, z: float) -> Shape:
    return Shape(name, (Part("box", (x, y, z)),), DENSITY * x * y * z)


def _extrude(profile: list[tuple[float, float]], length: float) -> Part:
    """A convex (y, z) outline drawn along x."""
    return hull_part([(s * length / 2, y, z) for s in (-1, 1) for y, z in profile])


def _octagon(across: float, height: float) -> Part:
    r = across / 2 / math.cos(math.pi / 8)
    a = math.pi / 8 + np.arange(8) * math.pi / 4
    return hull_part([(r * math.cos(t), r * math.sin(t), z) for t in a for z in (0.0, height)])


def _frustum(base: float, top: float, upright: float, height: float) -> Part:
    corners = [(i, j) for i in (-0.5, 0.5) for j in (-0.5, 0.5)]
    levels = ((base, 0.0), (base, upright), (top, height))
    return hull_part([(i * w, j * w, z) for w, z in levels for i, j in corners])


_CATALOGUE = (
    _box("cube", 0.042, 0.042, 0.042),
    _box("block", 0.036, 0.050, 0.038),
    _box("brick", 0.032, 0.048, 0.046),
    _box("tile", 0.048, 0.048, 0.032),
    _box("tower", 0.034, 0.034, 0.058),
    _box("small_cube", 0.032, 0.032, 0.032),
    _box("large_block", 0.050, 0.056, 0.050),
    Shape("cylinder", (Part("cylinder", (0.0215, 0.044)),), 0.058, 0.0),
    Shape("large_cylinder", (Part("cylinder", (0.028, 0.048)),), 0.1, 0.0),
    Shape("octagon", (_octagon(0.044, 0.038),), 0.055, math.pi / 8),
    Shape("house", (_extrude([(-0.021, 0.0), (0.021, 0.0), (0.021, 0.026), (0.0, 0.046), (-0.021, 0.026)], 0.044),), 0.06),
    Shape("frustum", (_frustum(0.046, 0.022, 0.024, 0.046),), 0.06),
    Shape("ramp", (_extrude([(-0.023, 0.0), (0.023, 0.0), (0.023, 0.024), (-0.023, 0.050)], 0.040),), 0.06),
    Shape("cross", (Part("box", (0.050, 0.022, 0.040)), Part("box", (0.022, 0.050, 0.040))), 0.055),
)
SHAPES = {s.name: s for s in _CATALOGUE}


def shape(name: str) -> Shape:
    """ValueError lists the catalogue when there is no such shape."""
    if name not in SHAPES:
        raise ValueError(f"no shape named {name!r}; known: {', '.join(sorted(SHAPES))}")
    return SHAPES[name]
