"""The basket of spec 000 section 2.4: 35 x 35 cm, a red, a green and a blue block of varied shape."""

from __future__ import annotations

from apprentice_sim.bodies import Body, Part
from apprentice_sim.scenes.scene import ObjectChoice, Scene

CENTRE = (0.60, 0.0)
INNER = 0.37
"""inner side, m: the 35 cm that the pinch point may use, and the fingers' half thickness beyond"""
WALL = (0.006, 0.03)
"""thickness and height, m"""

PLAIN = {"cube": 3.0, "block": 3.0, "brick": 3.0, "cylinder": 2.0, "octagon": 1.0, "house": 1.0, "tile": 1.0}
"""what the green target is in training: mostly plain rectangular blocks; tower, ramp, cross and frustum are kept for `unseen`"""
OTHERS = {**PLAIN, "large_block": 3.0, "large_cylinder": 1.0, "small_cube": 1.0}


class LiftScene(Scene):
    """Three blocks in the basket, anywhere in its middle 22 x 22 cm."""

    objects: tuple[ObjectChoice, ...] = (
        ObjectChoice("red", "red", OTHERS), ObjectChoice("green", "green", PLAIN), ObjectChoice("blue", "blue", OTHERS),
    )
    region = (CENTRE[0] - 0.11, CENTRE[0] + 0.11, CENTRE[1] - 0.11, CENTRE[1] + 0.11)

    def fixtures(self) -> tuple[Body, ...]:
        x, y = CENTRE
        t, h = WALL
        out = INNER / 2 + t / 2
        walls = (
            Part("box", (INNER + 2 * t, t, h), (0.0, out, h / 2)),
            Part("box", (INNER + 2 * t, t, h), (0.0, -out, h / 2)),
            Part("box", (t, INNER, h), (out, 0.0, h / 2)),
            Part("box", (t, INNER, h), (-out, 0.0, h / 2)),
        )
        floor = Part("box", (INNER, INNER, 0.02), (0.0, 0.0, -0.01))
        table = Part("box", (0.70, 1.10, 0.04))
        return (
            Body("table", "table", (table,), (0.42, 0.40, 0.38, 1.0)).at(x + 0.05, y, -0.04, 0.0),
            Body("floor", "floor", (floor,), (0.80, 0.79, 0.74, 1.0), friction=0.6).at(x, y, 0.0, 0.0),
            Body("walls", "walls", walls, (0.55, 0.42, 0.26, 1.0), friction=0.4).at(x, y, 0.0, 0.0),
        )
