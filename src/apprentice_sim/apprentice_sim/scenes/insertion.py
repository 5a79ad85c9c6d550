"""A connector board: one socket mounted on the table, its plug in the hand (spec 001c section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from apprentice_core.config import TaskConfig
from apprentice_core.errors import ApprenticeError
from apprentice_sim.bodies import Body, Part
from apprentice_sim.connectors import find_connector
from apprentice_sim.connectors.connector import REPLACE_CYCLES
from apprentice_sim.grip import Held
from apprentice_sim.scenes.scene import Contact, Scene

MOUNT = (0.60, 0.0)
"""where the middle of the socket is, m"""
TOOL = 0.07
"""height of the tool when the plug is fully in, m"""
RISE = 0.05
"""from there to where an episode starts, m (spec 001c section 3.2)"""
MOVED = "socket"
MOVED_MOST = 0.02
CLIP = 2.5
"""standard deviations at which the scatter of the grasp ends (ours)"""


class InsertionScene(Scene):
    """`socket` at its mount, `plug` in the fingers with a small random error of the grasp that the seed draws.

    Options: `mount` and `mount_yaw`, standard deviation of the socket's own place, m and rad, 0; `scatter`, factor on the connector's
    grasp errors, 1; `cycles`, matings before this cell began, 0; `wear` above 0: friction follows the cycles. A start 'socket/DX,DY'
    moves the socket by metres while the goal stays (spec 001c section 3.5, `noise_target: socket`).
    """

    objects = ()
    # Measured on a P-controller's insertion of USB: with the world's own 20 iterations and erp 0.2 the plug stood 1.5 mm deep in the
    # wall of a well, with these 0.01 to 0.03 mm, and a step costs no more, since far fewer points count as near.
    contact = Contact(iterations=50, erp=0.8, threshold=1e-3)
    option_defaults = {"mount": 0.0, "mount_yaw": 0.0, "scatter": 1.0, "cycles": 0.0, "wear": 0.0}

    def __init__(self, task: TaskConfig):
        super().__init__(task)
        self.connector = find_connector(task.connector)
        self.cycles = int(self.options["cycles"])

    @property
    def tracked(self) -> tuple[str, ...]:
        return ("plug", "socket")

    @property
    def tool_goal(self) -> np.ndarray:
        """Tool position [3] with the plug fully in the socket at its mount: what a calibration finds, base frame, m."""
        return np.array([*MOUNT, TOOL])

    @property
    def tool_start(self) -> np.ndarray:
        """Tool position [3] before an episode: `RISE` above the goal."""
        return self.tool_goal + np.array([0.0, 0.0, RISE])

    @property
    def worn(self) -> bool:
        """The adapter has had its matings: it should be replaced (checklist B20)."""
        return self.cycles >= REPLACE_CYCLES

    def facts(self) -> dict[str, Any]:
        return {"connector": self.connector.name, "connector_cycles": self.cycles, "connector_worn": self.worn}

    def fixtures(self) -> tuple[Body, ...]:
        x, y = MOUNT
        table = Body("table", "table", (Part("box", (0.70, 1.10, 0.04)),), (0.42, 0.40, 0.38, 1.0)).at(x + 0.05, y, -0.04, 0.0)
        height = TOOL - self.connector.reach - 0.01
        board = Body("board", "board", (Part("box", (0.16, 0.16, height + 0.02)),), (0.74, 0.72, 0.66, 1.0))
        return (table, board.at(x, y, (height - 0.02) / 2, 0.0))

    def place(self, initial_state: str, seed: int | None) -> tuple[Body, ...]:
        dx, dy = self._moved(initial_state)
        rng = np.random.default_rng(None if seed is None else [seed, 1])
        mount, yaw = self.options["mount"] * _bounded(rng, 2), self.options["mount_yaw"] * _bounded(rng, 1)
        at = (MOUNT[0] + dx + float(mount[0]), MOUNT[1] + dy + float(mount[1]), TOOL - self.connector.reach, float(yaw[0]))
        contacts = self.connector.contacts(self.cycles if self.options["wear"] > 0 else 0)
        return tuple(b.at(*at) for b in (self.connector.socket(), contacts) if b is not None)

    def held(self, initial_state: str, seed: int | None) -> Held:
        rng = np.random.default_rng(None if seed is None else [seed, 2])
        aside, along, yaw, tilt = np.array(self.connector.scatter) * self.options["scatter"]
        sides, height, turns = aside * _bounded(rng, 2), along * _bounded(rng, 1), _bounded(rng, 3) * [tilt, tilt, yaw]
        # The plug turns about its handle's middle, where the pads are, and not about its tip.
        position = (float(sides[0]), float(sides[1]), float(height[0]))
        return Held(self.connector.plug(), position, (float(turns[0]), float(turns[1]), float(turns[2])), self.connector.grip_width)

    @staticmethod
    def _moved(initial_state: str) -> tuple[float, float]:
        kind, _, numbers = initial_state.partition("/")
        if not initial_state:
            return 0.0, 0.0
        try:
            dx, dy = (float(v) for v in numbers.split(","))
            if kind != MOVED or not max(abs(dx), abs(dy)) <= MOVED_MOST:
                raise ValueError
        except ValueError:
            raise ApprenticeError(f"no start named {initial_state!r}: 'socket/DX,DY' moves the socket by up to {MOVED_MOST} m") from None
        return dx, dy


def _bounded(rng: np.random.Generator, n: int) -> np.ndarray:
    """Normal numbers [n], none beyond `CLIP`."""
    return np.clip(rng.standard_normal(n), -CLIP, CLIP)
