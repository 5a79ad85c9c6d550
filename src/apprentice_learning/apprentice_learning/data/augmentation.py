"""Augmentation of images: random shifts for imitation, offline RL and reward models; colour jitter for the last (spec 000 section 8);
crops and colours of chapter 10 for offline data (spec 001c section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


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


@dataclass(frozen=True)
class JitterConfig:
    """Colour and crop of spec 001c section 4.3 (of the group's chapter 11); all factors are drawn for each image by itself."""

    brightness: tuple[float, float] = (0.75, 1.25)
    contrast: tuple[float, float] = (0.9, 1.1)
    saturation: tuple[float, float] = (0.9, 1.1)
    hue: tuple[float, float] = (-0.1, 0.1)
    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (0.9, 1.1)


GREY = np.array([0.299, 0.587, 0.114])
YIQ = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def _colour_matrices(n: int, config: JitterConfig, generator: np.random.Generator) -> np.ndarray:
    """[n, 3, 3]: brightness x saturation x hue, the hue a turn about the grey axis by that share of a full circle."""
    brightness, saturation, hue = (generator.uniform(*r, n) for r in (config.brightness, config.saturation, config.hue))
    turn = np.zeros((n, 3, 3))
    c, s = saturation * np.cos(2 * np.pi * hue), saturation * np.sin(2 * np.pi * hue)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = c, -s, s, c
    return brightness[:, None, None] * (np.linalg.inv(YIQ) @ turn @ YIQ)


def jitter_and_crop(images: np.ndarray, generator: np.random.Generator, config: JitterConfig = JitterConfig()) -> np.ndarray:
    """uint8 [B, H, W, 3] -> the same shape: a random crop resized back (bilinear), then brightness, saturation, hue and contrast."""
    n, h, w = images.shape[:3]
    area = generator.uniform(config.scale[0], config.scale[1], n)
    aspect = np.exp(generator.uniform(np.log(config.ratio[0]), np.log(config.ratio[1]), n))
    # Sides relative to the frame; what would be longer than it is cut to it.
    high, wide = np.minimum(np.sqrt(area / aspect), 1.0), np.minimum(np.sqrt(area * aspect), 1.0)
    theta = np.zeros((n, 2, 3), dtype=np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = wide, high
    theta[:, 0, 2], theta[:, 1, 2] = (1 - wide) * generator.uniform(-1, 1, n), (1 - high) * generator.uniform(-1, 1, n)
    matrices = _colour_matrices(n, config, generator)
    contrast = torch.from_numpy(generator.uniform(*config.contrast, (n, 1, 1)).astype(np.float32))
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(torch.from_numpy(theta), [n, 3, h, w], align_corners=False)
    x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    x = torch.bmm(torch.from_numpy(matrices.astype(np.float32)), x.flatten(2))
    middle = (torch.from_numpy(GREY.astype(np.float32)) @ x).mean(-1).view(n, 1, 1)
    x = middle + contrast * (x - middle)
    return x.round_().clamp_(0, 255).to(torch.uint8).view(n, 3, h, w).permute(0, 2, 3, 1).contiguous().numpy()
