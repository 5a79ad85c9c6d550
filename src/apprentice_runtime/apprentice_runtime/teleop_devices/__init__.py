"""Input devices for teleoperation behind one interface, and what turns deflection into action."""

from __future__ import annotations

from apprentice_core.errors import ApprenticeError
from apprentice_runtime.teleop_devices.device import DeviceState, TeleopDevice
from apprentice_runtime.teleop_devices.evdev_device import GAMEPAD, SPACEMOUSE, open_evdev
from apprentice_runtime.teleop_devices.keyboard import open_keyboard

DEVICES = ("keyboard", "gamepad", "spacemouse")

__all__ = ["DEVICES", "DeviceState", "TeleopDevice", "open_device"]


def open_device(kind: str, path: str = "") -> TeleopDevice:
    """The device of `kind`; `path` names its file where the first that fits is not the right one."""
    if kind == "keyboard":
        return open_keyboard(path or "/dev/tty")
    if kind in {"gamepad", "spacemouse"}:
        return open_evdev(GAMEPAD if kind == "gamepad" else SPACEMOUSE, path)
    raise ApprenticeError(f"no teleoperation device called {kind!r}; known: {', '.join(DEVICES)}")
