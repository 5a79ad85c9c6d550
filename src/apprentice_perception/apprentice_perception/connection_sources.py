"""Ways to learn whether a plug is electrically connected (spec 001c section 1.3), without ROS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from apprentice_core.errors import ApprenticeError

USB_DEVICES = Path("/sys/bus/usb/devices")
USB_ID = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}")


class ConnectionSource(Protocol):
    """Asked as often as its node wants to know."""

    def connected(self) -> bool: ...


class DeviceFile:
    """Connected while a device file is there, such as one below /dev/serial/by-id."""

    def __init__(self, path: str):
        if not path:
            raise ApprenticeError("parameter device: the path of the device file that appears with the connection")
        self.path = Path(path)

    def connected(self) -> bool:
        return self.path.exists()


class UsbDevice:
    """Connected while a USB device of that id (vendor:product, four hex digits each) is enumerated."""

    def __init__(self, device: str, root: Path = USB_DEVICES):
        if not USB_ID.fullmatch(device):
            raise ApprenticeError(f"parameter device: a USB id is vendor:product in hex (046d:c52b), not {device!r}")
        self.vendor, self.product = device.lower().split(":")
        self.root = root

    def connected(self) -> bool:
        try:
            folders = list(self.root.iterdir())
        except OSError:
            return False
        return any(self._id(f, "idVendor") == self.vendor and self._id(f, "idProduct") == self.product for f in folders)

    @staticmethod
    def _id(folder: Path, name: str) -> str:
        # A device may go while it is looked at.
        try:
            return (folder / name).read_text(encoding="ascii").strip().lower()
        except (OSError, UnicodeDecodeError):
            return ""


def make_source(kind: str, device: str) -> ConnectionSource:
    """`device` or `usb`; ApprenticeError says what is wrong with the device's name."""
    return DeviceFile(device) if kind == "device" else UsbDevice(device)
