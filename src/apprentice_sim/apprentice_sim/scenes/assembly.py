"""Two standing blocks and a third to push down between them (spec 001c section 2.4)."""

from __future__ import annotations

import math

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_sim.bodies import Body, Part
from apprentice_sim.grip import Held
from apprentice_sim.scenes.scene import Scene

MIDDLE = (0.60, 0.0)
SIDE, HEIGHT = 0.04, 0.10
"""of a standing block, m (spec 001c section 2.4)"""
BLOCK = (0.04, 0.04, 0.10)
"""the held block, m: its width along the base's y is the spec's, its height ours"""
TOOL = 0.13
"""height of the tool when the block is in: its lower end is 5 cm above the table, the fingers 2 cm above the standing blocks, m (ours)"""
LOW = 0.05
FRICTION = 0.15
"""ours: a block 4 cm wide that is pushed 10 cm up tips before it slides where its friction is above 0.2, and could not be straightened"""
RISE = 0.07
"""from there to where an episode starts: 2 cm above the standing blocks, m (ours)"""
TURNS = (0.0, math.radians(20.0), math.radians(-20.0))
"""of each block in the real experiment (spec 001c section 2.5)"""


class AssemblyScene(Scene):
    """`left` (y > 0) and `right` stand on the table, `held` is in the fingers.

    Starts: '' draws each block's yaw from +-`rotation`; 'yaw/R' from +-R; 'discrete' from straight, +20 and -20 degrees. Options:
    `rotation` rad, 0; `slack` of the gap over the block, m, 0.003; `fixed` above 0 screws the side blocks to the table (A-E5);
    `friction` of all blocks, `FRICTION`, and `mass` of a standing one, 0.2 kg, which differ in a second world that stands in for reality.
    """

    objects = ()
    option_defaults = {"rotation": 0.0, "slack": 0.003, "fixed": 0.0, "friction": FRICTION, "mass": 0.2}

    @property
    def tracked(self) -> tuple[str, ...]:
        return ("held", "left", "right")

    @property
    def tool_goal(self) -> np.ndarray:
        """Tool position [3] with the block in the middle of the gap, base frame, m."""
        return np.array([*MIDDLE, TOOL])

    @property
    def tool_start(self) -> np.ndarray:
        """Tool position [3] before an episode."""
        return self.tool_goal + np.array([0.0, 0.0, RISE])

    def fixtures(self) -> tuple[Body, ...]:
        table = Body("table", "table", (Part("box", (0.70, 1.10, 0.04)),), (0.42, 0.40, 0.38, 1.0), friction=1.0)
        return (table.at(MIDDLE[0] + 0.05, MIDDLE[1], -0.02, 0.0),)

    def place(self, initial_state: str, seed: int | None) -> tuple[Body, ...]:
        left, right = self.yaws(initial_state, seed)
        mass = 0.0 if self.options["fixed"] > 0 else self.options["mass"]
        apart = (BLOCK[1] + self.options["slack"] + SIDE) / 2
        return (
            self._block("left", (0.20, 0.45, 0.75, 1.0), mass).at(MIDDLE[0], MIDDLE[1] + apart, HEIGHT / 2, left),
            self._block("right", (0.80, 0.55, 0.15, 1.0), mass).at(MIDDLE[0], MIDDLE[1] - apart, HEIGHT / 2, right),
        )

    def _block(self, name: str, colour: tuple[float, ...], mass: float) -> Body:
        return Body(name, "standing_block", (Part("box", (SIDE, SIDE, HEIGHT)),), colour, mass, self.options["friction"], tracked=True)

    def held(self, initial_state: str, seed: int | None) -> Held:
        block = Body("held", "block", (Part("box", BLOCK),), (0.25, 0.65, 0.35, 1.0), 0.12, self.options["friction"],
                     origin=(0.0, 0.0, -BLOCK[2] / 2))
        return Held(block, (0.0, 0.0, LOW - TOOL + BLOCK[2] / 2), width=BLOCK[1])

    def yaws(self, initial_state: str, seed: int | None) -> tuple[float, float]:
        """Of the left and the right block, rad; ApprenticeError for an unknown start."""
        rng = np.random.default_rng(seed)
        if initial_state == "discrete":
            chosen = rng.choice(TURNS, 2)
            return float(chosen[0]), float(chosen[1])
        kind, _, number = initial_state.partition("/")
        try:
            reach = float(number) if kind == "yaw" else self.options["rotation"]
            if kind not in ("", "yaw") or not 0.0 <= reach <= math.pi / 4:
                raise ValueError
        except ValueError:
            raise ApprenticeError(f"no start named {initial_state!r}; known: 'yaw/R' with R in rad, 'discrete'") from None
        drawn = rng.uniform(-reach, reach, 2)
        return float(drawn[0]), float(drawn[1])
