"""Augmentation of images: random shifts for imitation, offline RL and reward models; colour jitter for the last (spec 000 section 8)."""

from __future__ import annotations

import numpy as np


def random_shift(images: np.ndarray, pixels: int, generator: np.random.Generator, out: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, C] -> `out`: each image moved by up to `pixels` along each axis, edges repeated (spec 000 section 8: 4)."""
    h, w = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    offsets = generator.integers(0, 2 * pixels + 1, size=(len(images), 2))
    for target, source, (dy, dx) in zip(out, padded, offsets, strict=True):
        target[...] = source[dy : dy + h, dx : dx + w]
    return out


def colour_jitter(images: np.ndarray, brightness: float, contrast: float, generator: np.random.Generator) -> np.ndarray:
    """uint8 [B, H, W, C] -> the same: each image c (x - 128) + 128 + 255 b, clipped; c in 1 -/+ contrast, b in -/+ brightness."""
    c = generator.uniform(1.0 - contrast, 1.0 + contrast, (len(images), 1))
    b = generator.uniform(-brightness, brightness, (len(images), 1))
    # A table of 256 values an image: one look-up a pixel instead of arithmetic in floating point.
    tables = np.clip(np.rint(c * (np.arange(256.0) - 128.0) + 128.0 + 255.0 * b), 0, 255).astype(np.uint8)
    return np.stack([table[image] for table, image in zip(tables, images, strict=True)])
