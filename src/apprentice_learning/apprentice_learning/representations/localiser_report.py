"""Where a socket localiser errs (C31): by the plug's distance from the socket, along its camera's line of sight and across it.

Most frames show a plug that is in, so a median over all of them hides what one picture does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from apprentice_learning.representations.dataset import ConnectorData
from apprentice_learning.representations.frame_models import LocaliserTrainer, predict

EDGES_MM = (0.0, 1.0, 3.0, 6.0, 12.0, np.inf)
"""ours: a clearance, two chamfers, the noise of scenario I, its box, and what lies beyond"""


@dataclass(frozen=True)
class LocaliserRow:
    """Frames whose plug stands `near` to `far` aside of the socket, mm; medians of the error's size along and across the line of sight, and
    its 90th percentile, mm (NaN without frames)."""

    near: float
    far: float
    frames: int
    along: float
    across: float
    p90: float


def errors_by_distance(error: np.ndarray, offset: np.ndarray, sight: np.ndarray) -> list[LocaliserRow]:
    """error, offset: [N, 2], m, base frame; sight: [N, 2], each frame's horizontal line of sight (of any length)."""
    unit = sight / np.linalg.norm(sight, axis=1, keepdims=True)
    along = np.abs((error * unit).sum(1)) * 1e3
    across = np.abs(error[:, 0] * unit[:, 1] - error[:, 1] * unit[:, 0]) * 1e3
    aside, size = np.linalg.norm(offset, axis=1) * 1e3, np.linalg.norm(error, axis=1) * 1e3
    rows = []
    for near, far in pairwise(EDGES_MM):
        pick = (aside >= near) & (aside < far)
        n = int(pick.sum())
        told = (float(np.median(along[pick])), float(np.median(across[pick])), float(np.quantile(size[pick], 0.9))) if n else (np.nan,) * 3
        rows.append(LocaliserRow(near, far, n, *told))
    return rows


def localiser_report(
    trainer: LocaliserTrainer, data: ConnectorData, connectors: Sequence[str], sight: Mapping[str, tuple[float, float]], frames: int = 6000,
    seed: int = 0,
) -> list[LocaliserRow]:
    """On `frames` drawn of all that show one of `connectors` at a known place. sight: robot -> its camera's horizontal line of sight."""
    rows = data.rows_of(connectors)
    rows = rows[np.isfinite(data.offset[rows]).all(axis=1)]
    rows = np.random.default_rng([seed, 31]).permutation(rows)[:frames]
    offset = data.offset[rows].astype(np.float64)
    lines = np.array([sight[data.episodes[e].robot] for e in data.frame_episode[rows]], dtype=np.float64).reshape(-1, 2)
    error = predict(trainer.network, data.frames[rows], trainer.config.camera) - offset
    return errors_by_distance(error, offset, lines)
