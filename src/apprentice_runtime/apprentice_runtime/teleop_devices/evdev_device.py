"""Gamepads and 6-DoF mice through the kernel's event devices. The `evdev` package finds and describes them; events are read here."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_runtime.teleop_devices.device import DeviceState

EVENT = struct.Struct("llHHi")
"""struct input_event of a 64-bit kernel: seconds, microseconds, type, code, value"""
EV_SYN, EV_KEY, EV_REL, EV_ABS = 0, 1, 2, 3
SYN_DROPPED = 3
REL_TIMEOUT = 0.12
"""s without an event after which a device that reports deflection as relative motion counts as released (ours)"""


@dataclass(frozen=True)
class Axis:
    """A device axis acts on twist component `component` with `scale`; a trigger runs from its minimum (rest) to its maximum."""

    component: int
    scale: float
    trigger: bool = False


@dataclass(frozen=True)
class Mapping6:
    """What the axes and buttons of one kind of device mean. Keys are kernel codes."""

    kind: str
    axes: Mapping[int, Axis]
    gripper: frozenset[int]
    release: frozenset[int]
    button_axes: Mapping[int, Axis] = field(default_factory=dict)
    relative: bool = False
    full_scale: float = 350.0
    """deflection of devices whose range the kernel does not tell"""


GAMEPAD = Mapping6(
    "gamepad",
    # sticks: left moves in the plane, right turns; triggers: right up, left down; the cross is a slow second left stick
    axes={
        1: Axis(0, -1.0), 0: Axis(1, -1.0), 5: Axis(2, 1.0, trigger=True), 2: Axis(2, -1.0, trigger=True),
        4: Axis(4, -1.0), 3: Axis(5, -1.0), 17: Axis(0, -0.6), 16: Axis(1, -0.6),
    },
    gripper=frozenset({0x130}), release=frozenset({0x131, 0x13B}),
    button_axes={0x136: Axis(3, 1.0), 0x137: Axis(3, -1.0)},
)
SPACEMOUSE = Mapping6(
    "spacemouse",
    # the cap's axes are right, towards the user, down; the base frame's are forward, left, up
    axes={1: Axis(0, -1.0), 0: Axis(1, -1.0), 2: Axis(2, -1.0), 4: Axis(3, -1.0), 3: Axis(4, -1.0), 5: Axis(5, -1.0)},
    gripper=frozenset({0x100, 0x110}), release=frozenset({0x101, 0x111}), relative=True,
)


class EvdevDevice:
    """One event device by file descriptor; `ranges`: axis code -> (minimum, maximum) as the kernel tells them."""

    def __init__(self, fd: int, name: str, mapping: Mapping6, ranges: Mapping[int, tuple[int, int]]):
        self.name = name
        self._fd, self._map, self._ranges = fd, mapping, dict(ranges)
        os.set_blocking(fd, False)
        self._axes: dict[int, float] = {}
        self._held: set[int] = set()
        self._closed = False
        self._relative_at = -1.0
        self._buffer = b""
        self._lost = False
        self._presses = 0
        self._released = False

    def poll(self, now: float) -> DeviceState:
        self._presses, self._released = 0, False
        while not self._lost:
            try:
                data = os.read(self._fd, EVENT.size * 64)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in {errno.ENODEV, errno.EIO}:
                    raise
                data = b""
            if not data:
                self._lost = True
                break
            self._buffer += data
            whole = len(self._buffer) // EVENT.size * EVENT.size
            for _, _, kind, code, value in EVENT.iter_unpack(self._buffer[:whole]):
                self._event(kind, code, value, now)
            self._buffer = self._buffer[whole:]
        if self._lost:
            return DeviceState(lost=True)
        if self._relative_at >= 0 and now - self._relative_at > REL_TIMEOUT:
            self._axes.clear()
            self._relative_at = -1.0
        return self._state()

    def _event(self, kind: int, code: int, value: int, now: float) -> None:
        if kind == EV_SYN and code == SYN_DROPPED:
            # The kernel lost events: what we hold may be wrong, and standing still is the safe guess.
            self._axes.clear()
            self._held.clear()
        elif kind == EV_KEY:
            if value == 0:
                self._held.discard(code)
            elif value == 1:
                self._held.add(code)
                self._presses += code in self._map.gripper
                self._released = self._released or code in self._map.release
        elif kind == EV_ABS and code in self._map.axes:
            self._axes[code] = self._normalise(code, value)
        elif kind == EV_REL and self._map.relative and code in self._map.axes:
            self._axes[code] = max(-1.0, min(1.0, value / self._map.full_scale))
            self._relative_at = now

    def _normalise(self, code: int, value: int) -> float:
        low, high = self._ranges.get(code, (-self._map.full_scale, self._map.full_scale))
        fraction = (value - low) / (high - low)
        u = fraction if self._map.axes[code].trigger else 2.0 * fraction - 1.0
        return max(-1.0, min(1.0, u))

    def _state(self) -> DeviceState:
        twist = np.zeros(6)
        for code, value in self._axes.items():
            axis = self._map.axes[code]
            twist[axis.component] += axis.scale * value
        for code in self._held & self._map.button_axes.keys():
            axis = self._map.button_axes[code]
            twist[axis.component] += axis.scale
        gripper = 0.0
        if self._presses % 2:
            self._closed = not self._closed
        if self._presses or self._held & self._map.gripper:
            gripper = 1.0 if self._closed else -1.0
        return DeviceState(np.clip(twist, -1, 1), gripper, self._released, frozenset(f"{c:#x}" for c in self._held))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _fits(device: Any, mapping: Mapping6) -> bool:
    capabilities = device.capabilities(absinfo=False)
    axes = set(capabilities.get(EV_ABS, [])) | (set(capabilities.get(EV_REL, [])) if mapping.relative else set())
    keys = set(capabilities.get(EV_KEY, []))
    six = all(code in axes for code in range(6))
    return six and bool(keys & mapping.gripper) and (mapping.kind == "gamepad") == (0x130 in keys)


def open_evdev(mapping: Mapping6, path: str = "") -> EvdevDevice:
    """The device at `path`, or the first that fits `mapping`; ApprenticeError says what is missing and what to do."""
    try:
        import evdev
    except ImportError as error:
        raise ApprenticeError(f"{mapping.kind} needs the package evdev: pip install evdev-binary") from error
    candidates = [path] if path else evdev.list_devices()
    seen = []
    for candidate in candidates:
        try:
            device = evdev.InputDevice(candidate)
        except OSError as error:
            if path:
                raise ApprenticeError(f"{mapping.kind}: {path} cannot be opened ({error.strerror}): are you in group 'input'?") from error
            continue
        seen.append(f"{candidate} ({device.name})")
        if path or _fits(device, mapping):
            axes: list[Any] = device.capabilities().get(EV_ABS, [])  # pairs of code and AbsInfo
            ranges = {code: (info.min, info.max) for code, info in axes if info.max > info.min}
            fd = os.dup(device.fd)
            device.close()
            return EvdevDevice(fd, device.name, mapping, ranges)
        device.close()
    raise ApprenticeError(f"no {mapping.kind} found; readable input devices: {', '.join(seen) or 'none (are you in group input?)'}")
