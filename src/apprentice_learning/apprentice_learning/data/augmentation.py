"""Random shift of images: the one augmentation of imitation and of offline RL from pixels."""

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
