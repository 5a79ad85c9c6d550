"""The motion of a tracked hand as the cell's action. Sprung devices give a speed; a hand gives a way, which the tool is to go as well."""

from __future__ import annotations

import numpy as np

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ActionSpace
from apprentice_runtime.teleop_devices.device import DEAD_BAND, DeviceState

AXES = {name: i % 6 for i, name in enumerate(("vx", "vy", "vz", "wx", "wy", "wz", "dx", "dy", "dz"))}
"""component of a displacement [6] that an action dimension follows"""


def hand_axes(space: ActionSpace) -> tuple[int, ...]:
    """For each dimension of `space` the component of the hand's displacement, -1 for none. ConfigError for a space no hand can drive."""
    found = tuple(-1 if d.binary else AXES.get(d.name, -1) for d in space.dimensions)
    if space.frame != "base" or max(found, default=-1) < 0:
        raise ConfigError("cell_spec", "action_space", f"a tracked hand moves the tool in the base frame: not {space.name}")
    return found


class HandMotion:
    """Sums the displacements between two ticks. The cubic has no part in it: a hand that comes back to where it was brings the tool back.

    Motion within the dead band waits and is not lost, so that a slow hand is followed; motion beyond the space's bounds is cut to them
    (the direction is kept) and the rest is forgotten, so that the arm never goes on after the hand has stopped. The line and the turn are
    treated apart. Releasing the clutch or a fault forgets all of it.
    """

    def __init__(self, dead_band: float = DEAD_BAND):
        self._dead_band = dead_band
        self._moved = np.zeros(6)

    def add(self, state: DeviceState) -> None:
        """One poll of the device."""
        if state.clutch and not state.fault:
            self._moved = self._moved + state.displacement
        else:
            self.forget()

    def forget(self) -> None:
        self._moved = np.zeros(6)

    def take(self, space: ActionSpace, period: float) -> np.ndarray:
        """float32 [space.size] in [-1, 1] for a control `period` in s: velocities that go the way, or the displacement itself."""
        axes = hand_axes(space)
        value = np.zeros(space.size)
        for part in (range(3), range(3, 6)):
            dimensions = [i for i, axis in enumerate(axes) if axis in part]
            if not dimensions:
                continue
            here = [axes[i] for i in dimensions]
            chosen = [space.dimensions[i] for i in dimensions]
            wish = self._moved[here] / np.array([period if d.unit.endswith("/s") else 1.0 for d in chosen])
            bound = np.array([d.high if w >= 0 else -d.low for d, w in zip(chosen, wish, strict=True)])
            largest = float(np.max(np.abs(wish) / bound))
            if largest > self._dead_band:
                value[dimensions] = wish / max(1.0, largest)
                self._moved[list(part)] = 0.0
        return space.from_si(value)
