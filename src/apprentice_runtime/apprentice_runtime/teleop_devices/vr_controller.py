"""A hand-held VR controller with a clutch (spec 000 sections 2.2 and 8): poses and buttons in, displacements of the hand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.rotations import matrix_from_rotation_vector, quaternion_to_matrix, rotation_vector
from apprentice_runtime.teleop_devices.device import DeviceState

FRAMES = {
    "ros": np.eye(3),
    "openvr": np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
}
"""from the bridge's axes to forward, left, up: `ros` is that already (REP 103); `openvr` and OpenXR are right, up, towards the user"""
PULL, LET_GO = 0.6, 0.4
"""of the trigger's way: pulled above the first, let go below the second (ours)"""
SHORTEST = 0.01
"""s: poses that lie nearer are judged as if so far apart, so that noise over a tiny time is no jump (ours)"""
UNIT = 0.01
"""by which a quaternion's norm may miss 1 (ours)"""


@dataclass(frozen=True)
class VrSettings:
    """All defaults are ours; the numbers of the buttons are those of the common Vive bridges' Joy (trigger; touch, press, menu, grip)."""

    clutch_button: int = 4
    """the grip"""
    release_button: int = 3
    """the menu button"""
    trigger_axis: int = 0
    """0 at rest, 1 pulled"""
    axes: str = "ros"
    yaw: float = 0.0
    """of the operator's forward in the base frame, rad: 0 looks along base x, pi/2 along base y"""
    scale: float = 1.0
    """m of the tool for each m of the hand"""
    turn_scale: float = 1.0
    """rad of the tool for each rad of the hand"""
    max_age: float = 0.1
    """s: an older pose, or so long without one, is stale"""
    joy_max_age: float = 0.5
    """s without buttons after which the clutch counts as unknown"""
    max_speed: float = 3.0
    """m/s: no hand is faster, so it is a jump of the tracking"""
    max_turn: float = 20.0
    """rad/s, likewise"""


class VrController:
    """`pose` and `buttons` take what the bridge says, `poll` gives it as every device does.

    Only what moves while the clutch is held counts, from the first pose after the press on: re-clutching never jumps. A fault (stale,
    older, jumping or broken poses, silent or broken buttons) lasts until the clutch is let go: after lost tracking, nobody can say where
    the hand was. After the release button, and at the start, clutch and trigger have to be let go once before they count.
    """

    name = "VR controller"

    def __init__(self, settings: VrSettings = VrSettings()):
        self.settings = settings
        turn = matrix_from_rotation_vector(np.array([0.0, 0.0, settings.yaw]))
        self._to_base = turn @ FRAMES[settings.axes]
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None
        self._heard = 0.0
        self._joy_at: float | None = None
        self._clutch = self._pulled = self._release_held = self._released = self._closed = False
        self._idle = True
        self._presses = 0
        self._moved = np.zeros(6)
        self._fault = ""

    def pose(self, stamp: int, age: float, position: np.ndarray, orientation: np.ndarray, now: float) -> None:
        """One pose of the controller: `stamp` in ns and its `age` in s, m [3], xyzw [4], both in the bridge's frame."""
        if not self._clutch or self._fault:
            return
        fault = self._broken(stamp, age, position, orientation)
        if fault:
            self._fail(fault)
            return
        rotation = quaternion_to_matrix(orientation)
        if self._last is not None:
            before, origin, facing = self._last
            line, turn = position - origin, rotation_vector(rotation @ facing.T)
            time = max(1e-9 * (stamp - before), SHORTEST)
            speed, spin = np.linalg.norm(line) / time, np.linalg.norm(turn) / time
            if speed > self.settings.max_speed or spin > self.settings.max_turn:
                self._fail(f"the pose jumps ({speed:.1f} m/s, {spin:.1f} rad/s)")
                return
            s = self.settings
            self._moved += np.concatenate([s.scale * (self._to_base @ line), s.turn_scale * (self._to_base @ turn)])
        self._last, self._heard = (stamp, position.copy(), rotation), now

    def buttons(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> None:
        """One state of the buttons, as in sensor_msgs/Joy. The bridge has to repeat it while nothing changes."""
        s = self.settings
        if len(buttons) <= max(s.clutch_button, s.release_button) or len(axes) <= s.trigger_axis:
            self._fail(f"{len(buttons)} buttons and {len(axes)} axes: too few for clutch, release and trigger")
            return
        trigger = float(axes[s.trigger_axis])
        if not np.isfinite(trigger):
            self._fail("the trigger is not a number")
            return
        self._joy_at = now
        held, release = bool(buttons[s.clutch_button]), bool(buttons[s.release_button])
        pulled = trigger > (LET_GO if self._pulled else PULL)
        if release and not self._release_held:
            self._released = self._idle = True
        self._release_held = release
        if not held:
            self._fault = ""
        if self._idle and not (held or pulled or release):
            self._idle = False
        clutch = held and not self._idle
        if clutch and not self._clutch:
            self._last, self._heard = None, now
        if not clutch:
            self._moved = np.zeros(6)
        self._presses += pulled and not self._pulled and not self._idle
        self._clutch, self._pulled = clutch, pulled

    def poll(self, now: float) -> DeviceState:
        s = self.settings
        if self._joy_at is not None and now - self._joy_at > s.joy_max_age:
            self._fail(f"no buttons for {s.joy_max_age:g} s")
        if self._clutch and now - self._heard > s.max_age:
            self._fail(f"no pose for {s.max_age:g} s")
        moved, presses, released = self._moved, self._presses, self._released
        self._moved, self._presses, self._released = np.zeros(6), 0, False
        pulled = self._pulled and not self._idle
        gripper = 0.0
        if not self._fault:
            if presses % 2:
                self._closed = not self._closed
            if presses or pulled:
                gripper = 1.0 if self._closed else -1.0
        names = {"clutch": self._clutch, "trigger": pulled, "release": self._release_held}
        return DeviceState(
            gripper=gripper, release=released, buttons=frozenset(name for name, down in names.items() if down), displacement=moved,
            clutch=self._clutch, fault=self._fault,
        )

    def _broken(self, stamp: int, age: float, position: np.ndarray, orientation: np.ndarray) -> str:
        if not (np.isfinite(position).all() and np.isfinite(orientation).all()):
            return "the pose holds NaN or infinity"
        if abs(float(np.linalg.norm(orientation)) - 1.0) > UNIT:
            return "the pose's quaternion is not of length 1"
        if abs(age) > self.settings.max_age:
            return f"the pose is stale: stamped {age:.2f} s ago by this machine's clock"
        if self._last is not None and stamp <= self._last[0]:
            return "the pose's stamp is not newer than the last one's"
        return ""

    def _fail(self, fault: str) -> None:
        self._fault = self._fault or fault
        self._moved = np.zeros(6)

    def close(self) -> None:
        """Nothing is held: the subscriptions are the node's."""
