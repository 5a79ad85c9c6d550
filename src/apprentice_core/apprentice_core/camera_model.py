"""Pinhole camera calibration in the terms of sensor_msgs/CameraInfo, and what cropping and reducing does to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from apprentice_core.errors import ConfigError

DISTORTION_SIZES = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}


@dataclass(frozen=True)
class CameraModel:
    """Sizes in pixels; `k` and `r` row-major 3x3, `p` row-major 3x4, `d` by `distortion_model` (empty: none)."""

    height: int
    width: int
    k: tuple[float, ...]
    p: tuple[float, ...]
    d: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    r: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    distortion_model: str = "plumb_bob"

    @classmethod
    def from_fov(cls, size: tuple[int, int], fov: float) -> CameraModel:
        """An ideal camera of `size` (height, width) with square pixels and vertical field of view `fov` in degrees."""
        h, w = size
        f = 0.5 * h / math.tan(math.radians(fov) / 2)
        # Pixel centres lie at integers, so the optical axis of an even-sized image falls between two of them.
        cx, cy = (w - 1) / 2, (h - 1) / 2
        return cls(h, w, (f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0), (f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0))

    def shifted(self, right: float, down: float) -> CameraModel:
        """The same camera with its optical axis so many pixels further to the right and down."""
        k, p = list(self.k), list(self.p)
        for m, row in ((k, 3), (p, 4)):
            m[2] += right
            m[row + 2] += down
        return replace(self, k=tuple(k), p=tuple(p))

    def at_record_size(self, record: tuple[int, int]) -> CameraModel:
        """The calibration of the image that `images.to_record_size` makes of this camera's image."""
        rh, rw = record
        factor = min(self.height // rh, self.width // rw)
        if factor < 1:
            raise ValueError(f"image {self.height}x{self.width} is smaller than the record size {rh}x{rw}")
        top, left = (self.height - rh * factor) // 2, (self.width - rw * factor) // 2
        k, p = list(self.k), list(self.p)
        for m, row in ((k, 3), (p, 4)):
            m[0] /= factor
            m[1] /= factor
            m[row + 1] /= factor
            m[2] = (m[2] - left + 0.5) / factor - 0.5
            m[row + 2] = (m[row + 2] - top + 0.5) / factor - 0.5
        p[3] /= factor
        p[7] /= factor
        return replace(self, height=rh, width=rw, k=tuple(k), p=tuple(p))


def load_calibration(path: Path) -> CameraModel:
    """Reads the YAML that ROS camera calibration writes; ConfigError names the file and the field."""
    where = str(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(where, "", f"cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(where, "", f"is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(raw, dict):
        raise ConfigError(where, "", "is not a mapping")

    def matrix(field: str, sizes: tuple[int, ...]) -> tuple[float, ...]:
        entry = raw.get(field)
        data = entry.get("data") if isinstance(entry, dict) else None
        if not isinstance(data, list) or not all(isinstance(x, int | float) and math.isfinite(x) for x in data):
            raise ConfigError(where, f"{field}.data", "must be a list of finite numbers")
        if len(data) not in sizes:
            raise ConfigError(where, f"{field}.data", f"has {len(data)} numbers, expected {' or '.join(map(str, sizes))}")
        return tuple(float(x) for x in data)

    def size(field: str) -> int:
        value = raw.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 16384:
            raise ConfigError(where, field, "must be a whole number of pixels")
        return value

    model = raw.get("distortion_model", "plumb_bob")
    if model not in DISTORTION_SIZES:
        raise ConfigError(where, "distortion_model", f"{model!r} is not one of {', '.join(DISTORTION_SIZES)}")
    return CameraModel(
        height=size("image_height"), width=size("image_width"), distortion_model=model,
        k=matrix("camera_matrix", (9,)), p=matrix("projection_matrix", (12,)), r=matrix("rectification_matrix", (9,)),
        d=matrix("distortion_coefficients", (DISTORTION_SIZES[model], 0)),
    )
