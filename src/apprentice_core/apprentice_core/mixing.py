"""Residual mixing (spec 001c sections 1.2 and 2.2): one function for the mux node and for the cell in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.cell import SourceAction

BOUND = 1.0
"""of a residual with its exploration noise, normalised: the whole action range (spec 001c section 2.3, ours)"""


@dataclass(frozen=True)
class Mixture:
    """What a step's sources come to, all float32 [A]: `values` = base + residual + noise within [-1, 1].

    A learner's action is `residual + noise`: the noise is what is left of it within the residual's bound. `fault`: '' or what was
    left out.
    """

    values: np.ndarray
    base: np.ndarray
    residual: np.ndarray
    noise: np.ndarray
    fault: str


def mix(base: SourceAction | None, residuals: Sequence[SourceAction | None] = ()) -> Mixture | None:
    """The command of one step from answers to that very step; None (hold) without a base.

    A residual that is missing (None), not finite or of the wrong shape is zero, and a residual of zeros leaves the base as it is, bit for
    bit. A base with a fault, or not finite, makes all of it zero: there is nothing to correct.
    """
    if base is None:
        return None
    zero = np.zeros(np.shape(base.values), dtype=np.float32)
    command, own, fault = _part(base, zero.shape)
    if base.fault or fault:
        return Mixture(zero, zero, zero, zero, base.fault or fault)
    residual, noise, faults = zero, zero, [""]
    for given in residuals:
        if given is None:
            continue
        values, added, wrong = _part(given, zero.shape)
        faults += [given.fault, f"residual: {wrong}" if wrong else ""]
        if not wrong:
            residual, noise = residual + values, noise + added
    residual = np.clip(residual, -BOUND, BOUND)
    noise = np.clip(residual + noise, -BOUND, BOUND) - residual
    total = command
    for part in (residual, noise, own):
        # Plus zero is not the same bits: it makes a negative zero positive.
        total = np.where(part == 0, total, total + part)
    return Mixture(np.clip(total, -1.0, 1.0), command, residual, noise + own, next((f for f in faults if f), ""))


def _part(given: SourceAction, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, str]:
    """(values, noise, fault), float32; the values within [-1, 1]."""
    zero = np.zeros(shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        values = np.asarray(given.values, dtype=np.float32)
        noise = zero if given.noise is None or np.size(given.noise) == 0 else np.asarray(given.noise, dtype=np.float32)
    for name, array in (("values", values), ("noise", noise)):
        if array.shape != shape:
            return zero, zero, f"{name}: shape {array.shape}, expected {shape}"
        if not np.isfinite(array).all():
            return zero, zero, "nan"
    return np.clip(values, -1.0, 1.0), noise, ""
