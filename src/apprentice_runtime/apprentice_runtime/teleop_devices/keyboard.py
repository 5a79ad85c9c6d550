"""The keyboard of a terminal: works over ssh, needs no display. A terminal tells of presses only, so a key counts as held for a while."""

from __future__ import annotations

import contextlib
import os
import termios
import tty

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_runtime.teleop_devices.device import DeviceState

KEY_HELD = 0.25
"""s that a key counts as held after each press or auto-repeat (ours)"""

AXES: dict[str, tuple[int, float]] = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
    "u": (3, 1.0), "o": (3, -1.0), "i": (4, 1.0), "k": (4, -1.0), "j": (5, 1.0), "l": (5, -1.0),
}
ARROWS = {b"\x1b[A": "w", b"\x1b[B": "s", b"\x1b[D": "a", b"\x1b[C": "d", b"\x1b[5~": "r", b"\x1b[6~": "f"}
GRIPPER, RELEASE, SLOWER, FASTER = " ", "h", "-", "+"

HELP = """\
  w/s forward, back   a/d left, right   r/f up, down   (or arrows and page up/down)
  u/o roll            i/k pitch         j/l yaw
  space  close or open the gripper      h  hand back to the policy
  +/-    faster, slower                 Ctrl-C  end"""


class Keyboard:
    """Reads an open terminal by file descriptor; restores its mode on close."""

    name = "keyboard"

    def __init__(self, fd: int, speed: float = 0.8):
        self._fd = fd
        self._saved = termios.tcgetattr(fd)
        tty.setcbreak(fd)
        os.set_blocking(fd, False)
        self._until: dict[str, float] = {}
        self._speed = speed
        self._closed = False
        self._gripper_until = 0.0
        self._pending = b""

    def poll(self, now: float) -> DeviceState:
        release = False
        try:
            data = os.read(self._fd, 4096)
            if not data:
                return DeviceState(lost=True)
        except BlockingIOError:
            data = b""
        except OSError:
            return DeviceState(lost=True)
        for key in self._keys(data):
            if key in AXES:
                self._until[key] = now + KEY_HELD
            elif key == GRIPPER:
                self._closed = not self._closed
                self._gripper_until = now + KEY_HELD
            elif key == RELEASE:
                release = True
                self._until.clear()
            elif key in {FASTER, "="}:
                self._speed = min(1.0, self._speed + 0.1)
            elif key == SLOWER:
                self._speed = max(0.2, self._speed - 0.1)
        twist = np.zeros(6)
        held = {key for key, until in self._until.items() if until >= now}
        for key in held:
            axis, sign = AXES[key]
            twist[axis] += sign * self._speed
        gripper = (1.0 if self._closed else -1.0) if self._gripper_until >= now else 0.0
        return DeviceState(np.clip(twist, -1, 1), gripper, release, frozenset(held))

    def _keys(self, data: bytes) -> list[str]:
        """Splits what came into keys; the start of an escape sequence waits for its rest."""
        data, keys = self._pending + data, []
        self._pending = b""
        while data:
            if data[0] != 0x1B:
                keys.append(chr(data[0]).lower())
                data = data[1:]
                continue
            known = next((s for s in ARROWS if data.startswith(s)), None)
            if known:
                keys.append(ARROWS[known])
                data = data[len(known):]
            elif any(s.startswith(data) for s in ARROWS):
                self._pending = data
                break
            else:
                data = data[1:]
        return keys

    def close(self) -> None:
        # The terminal may be gone already; then there is nothing to restore.
        with contextlib.suppress(OSError, termios.error):
            os.set_blocking(self._fd, True)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)
        with contextlib.suppress(OSError):
            os.close(self._fd)


def open_keyboard(path: str) -> Keyboard:
    """The terminal at `path` (`/dev/tty`: that of this process)."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        raise ApprenticeError(
            f"keyboard: {path} cannot be opened ({error.strerror}): start teleop_node in a terminal of its own"
        ) from error
    if not os.isatty(fd):
        os.close(fd)
        raise ApprenticeError(f"keyboard: {path} is not a terminal: start teleop_node in a terminal of its own")
    return Keyboard(fd)
