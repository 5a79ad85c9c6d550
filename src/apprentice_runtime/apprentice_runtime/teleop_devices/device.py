"""What every input device gives, and the shaping that all share (spec 000 section 8, "Teleop")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

DEAD_BAND = 0.05
"""fraction of full deflection that counts as none (ours: spec 000 section 8)"""
HOLD_TO_TAKE_OVER = 0.05
"""s of held input after which a person takes over (ours: spec 000 section 8)"""


@dataclass(frozen=True)
class DeviceState:
    """`twist`: raw deflection in [-1, 1] along x y z and about x y z of the base frame; `gripper`: 1 close, -1 open, 0 leave."""

    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    gripper: float = 0.0
    release: bool = False
    """the hand-back button was pressed since the last poll"""
    buttons: frozenset[str] = frozenset()
    """buttons held now, by name"""
    lost: bool = False
    """the device is gone; the state is neutral"""
    displacement: np.ndarray = field(default_factory=lambda: np.zeros(6))
    """of a device that follows the hand: its motion since the last poll along and about x y z of the base frame, m and rad"""
    clutch: bool = False
    """the person holds the clutch of such a device: that is input, even when the hand rests"""
    fault: str = ""
    """'' or why the device stands still although it is there (tracking lost)"""


class TeleopDevice(Protocol):
    """A keyboard, gamepad, 6-DoF mouse, VR controller: what gives a twist or a displacement, a gripper wish and a release button."""

    name: str

    def poll(self, now: float) -> DeviceState:
        """Everything since the last poll, without blocking; `now` is the steady clock in s."""
        ...

    def close(self) -> None: ...


def shape(deflection: np.ndarray, dead_band: float = DEAD_BAND) -> np.ndarray:
    """Dead band, then a cubic: fine near the centre, full at the end. [-1, 1] -> [-1, 1], odd and monotonic."""
    x = np.clip(deflection, -1.0, 1.0)
    beyond = np.maximum(np.abs(x) - dead_band, 0.0) / (1.0 - dead_band)
    return np.sign(x) * beyond**3


class TakeOver:
    """Who has the controls: input held for `hold` seconds takes over, the release button (or loss of the device) hands back."""

    def __init__(self, hold: float = HOLD_TO_TAKE_OVER, dead_band: float = DEAD_BAND):
        self.engaged = False
        self._hold, self._dead_band = hold, dead_band
        self._since: float | None = None

    def update(self, state: DeviceState, now: float) -> bool:
        if state.release or state.lost:
            self.engaged, self._since = False, None
            return False
        active = bool(np.max(np.abs(state.twist)) > self._dead_band) or state.gripper != 0.0 or state.clutch
        if not active:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._hold:
            self.engaged = True
        return self.engaged
