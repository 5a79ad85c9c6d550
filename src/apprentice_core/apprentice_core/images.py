"""The one image pipeline: crop and resize once, PNG on the wire, integer box filter for any further reduction.

PNG is lossless, so which library codes it does not matter; OpenCV is used for coding alone, never for resizing.
"""

from __future__ import annotations

import cv2
import numpy as np


def box_reduce(image: np.ndarray, factor: int) -> np.ndarray:
    """Integer box filter: uint8 or uint16 [H, W(, C)] -> [H/f, W/f(, C)], mean rounded half up. Sizes must divide."""
    if factor == 1:
        return image
    h, w = image.shape[:2]
    if h % factor or w % factor:
        raise ValueError(f"image {h}x{w} cannot be reduced by {factor}")
    area = factor * factor
    # Rows, then columns, in the smallest type that holds the sum: twenty times as fast as a sum over two axes of a reshaped image.
    small = image.dtype == np.uint8 and 255 * area + area // 2 <= np.iinfo(np.uint16).max
    rows: np.ndarray = image[::factor].astype(np.uint16 if small else np.uint32)
    for i in range(1, factor):
        rows += image[i::factor]
    total: np.ndarray = rows[:, ::factor].copy()
    for j in range(1, factor):
        total += rows[:, j::factor]
    total += area // 2
    total //= area
    return total.astype(image.dtype)


def to_record_size(image: np.ndarray, record: tuple[int, int]) -> np.ndarray:
    """Centre crop to the largest integer multiple of `record` (height, width), then box filter. Never enlarges."""
    h, w = image.shape[:2]
    rh, rw = record
    factor = min(h // rh, w // rw)
    if factor < 1:
        raise ValueError(f"image {h}x{w} is smaller than the record size {rh}x{rw}")
    top, left = (h - rh * factor) // 2, (w - rw * factor) // 2
    return np.ascontiguousarray(box_reduce(image[top : top + rh * factor, left : left + rw * factor], factor))


def encode_png(image: np.ndarray, level: int = 1) -> bytes:
    """RGB uint8 [H, W, 3] or uint16 [H, W] (depth in millimetres) -> PNG bytes. Level 1: fast, ours."""
    if image.ndim == 3:
        image = image[:, :, ::-1]
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not ok:
        raise ValueError(f"image of shape {image.shape} and dtype {image.dtype} cannot be coded as PNG")
    return data.tobytes()


def decode_png(data: bytes | np.ndarray | memoryview) -> np.ndarray:
    """The inverse of encode_png: RGB uint8 [H, W, 3], grey uint8 [H, W] or uint16 [H, W]."""
    buffer = data if isinstance(data, np.ndarray) else np.frombuffer(data, dtype=np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED) if buffer.size else None
    if image is None:
        raise ValueError("not a decodable PNG")
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image


GRAY = 32
"""pixels a side of the policy's picture (spec 001c section 3.3)"""


def to_gray32(image: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] of a square frame whose side is a multiple of 32 -> float32 [..., 32, 32] in [0, 1]: integer box filter, then the mean
    of the channels. The picture that an image policy of spec 001c sees and that goal images are compared in (X18)."""
    side = image.shape[-2]
    if image.ndim < 3 or image.shape[-3:] != (side, side, 3) or side % GRAY or image.dtype != np.uint8:
        raise ValueError(f"image {image.dtype} {image.shape} is not square RGB of a multiple of {GRAY} pixels")
    frames = image.reshape(-1, side, side, 3)
    small = np.stack([box_reduce(f, side // GRAY) for f in frames]) if len(frames) else np.zeros((0, GRAY, GRAY, 3), dtype=np.uint8)
    return (small.mean(axis=-1, dtype=np.float32) / np.float32(255.0)).reshape(*image.shape[:-3], GRAY, GRAY)
