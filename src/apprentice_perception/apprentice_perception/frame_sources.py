"""Where camera frames come from: a V4L2 device, a video file or a folder of images, all through OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from apprentice_core.errors import ApprenticeError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


class FrameSource(Protocol):
    """`live` sources pace themselves and block in `read`; the others are paced by the node."""

    live: bool

    def read(self) -> np.ndarray | None:
        """RGB uint8 [H, W, 3], grey uint8 or depth uint16 [H, W]; None at the end of a file or when the device gives nothing."""
        ...

    def close(self) -> None: ...


def _rgb(frame: np.ndarray) -> np.ndarray:
    if frame.ndim == 3 and frame.shape[2] == 4:
        frame = frame[:, :, :3]
    return np.ascontiguousarray(frame[:, :, ::-1]) if frame.ndim == 3 else frame


class DeviceSource:
    """A V4L2 device by path (`/dev/video0`, or better `/dev/v4l/by-id/...`, which survives replugging)."""

    live = True

    def __init__(self, device: str, size: tuple[int, int], rate: float):
        if not Path(device).exists():
            known = sorted(str(p) for p in Path("/dev").glob("video*"))
            raise ApprenticeError(f"camera device {device} does not exist; present: {', '.join(known) or 'none'}")
        self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise ApprenticeError(f"camera device {device} cannot be opened: is it a video device, free, and are you in group 'video'?")
        height, width = size
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self._capture.set(cv2.CAP_PROP_FPS, rate)
        # One buffer: an old frame is worse than none.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> np.ndarray | None:
        ok, frame = self._capture.read()
        return _rgb(frame) if ok else None

    def close(self) -> None:
        self._capture.release()


class VideoSource:
    """A video file; starts again at its end where `loop`."""

    live = False

    def __init__(self, path: Path, loop: bool):
        if not path.is_file():
            raise ApprenticeError(f"video file {path} does not exist")
        self._path, self._loop = path, loop
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise ApprenticeError(f"video file {path} cannot be decoded")

    def read(self) -> np.ndarray | None:
        ok, frame = self._capture.read()
        if not ok and self._loop:
            self._capture.release()
            self._capture = cv2.VideoCapture(str(self._path))
            ok, frame = self._capture.read()
        return _rgb(frame) if ok else None

    def close(self) -> None:
        self._capture.release()


class FolderSource:
    """The images of a folder in order of their names; 16-bit PNG is depth in millimetres."""

    live = False

    def __init__(self, folder: Path, loop: bool):
        self._files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self._files:
            raise ApprenticeError(f"folder {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self._loop, self._next = loop, 0

    def read(self) -> np.ndarray | None:
        if self._next >= len(self._files):
            if not self._loop:
                return None
            self._next = 0
        path = self._files[self._next]
        self._next += 1
        frame = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if frame is None:
            raise ApprenticeError(f"image {path} cannot be decoded")
        return _rgb(frame)

    def close(self) -> None:
        self._files = []


def open_source(source: str, size: tuple[int, int], rate: float, loop: bool) -> FrameSource:
    """By what `source` is: something under /dev, a folder, or a video file. ApprenticeError says what is wrong with it."""
    path = Path(source)
    if not source:
        raise ApprenticeError("parameter 'source' is empty: name a device (/dev/video0), a video file or a folder of images")
    if source.startswith("/dev/"):
        return DeviceSource(source, size, rate)
    return FolderSource(path, loop) if path.is_dir() else VideoSource(path, loop)
