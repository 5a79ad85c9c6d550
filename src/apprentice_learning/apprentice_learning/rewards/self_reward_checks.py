"""Watching a learner that rewards itself (spec 001c C34, C35, C42, C43): the truth is only looked at here, never learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass
class ConfusionMatrix:
    """What R said of online frames against what the verifier saw (C34)."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    def add(self, said: np.ndarray, truth: np.ndarray) -> None:
        """Boolean arrays [T] of one episode; ValueError when their lengths differ."""
        said, truth = np.asarray(said, dtype=bool), np.asarray(truth, dtype=bool)
        if said.shape != truth.shape:
            raise ValueError(f"{said.shape} judged, {truth.shape} verified")
        self.true_positives += int((said & truth).sum())
        self.false_positives += int((said & ~truth).sum())
        self.false_negatives += int((~said & truth).sum())
        self.true_negatives += int((~said & ~truth).sum())

    @property
    def frames(self) -> int:
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    def as_dict(self) -> dict[str, float]:
        """Counts and fractions; what has nothing to be a fraction of is left out."""
        out: dict[str, float] = {
            "true_positives": self.true_positives, "false_positives": self.false_positives,
            "false_negatives": self.false_negatives, "true_negatives": self.true_negatives,
        }
        for name, part, whole in (
            ("precision", self.true_positives, self.true_positives + self.false_positives),
            ("recall", self.true_positives, self.true_positives + self.false_negatives),
            ("false_positive_rate", self.false_positives, self.false_positives + self.true_negatives),
            ("accuracy", self.true_positives + self.true_negatives, self.frames),
        ):
            if whole:
                out[name] = part / whole
        return out


class ExploitationAlarm:
    """Fires when R has praised `trials` trials in a row of which none was verified a success (C35).

    A trial is praised when its largest probability, or the mean of its last `window` ones, reaches `threshold`. Once fired it stays so:
    training stops until a person has looked. A trial that R does not praise neither counts nor clears; a verified success clears.
    """

    def __init__(self, trials: int = 10, threshold: float = 0.5, window: int = 1):
        """Defaults are ours: 10 of a budget of 200. `window` 1: the largest single probability decides."""
        if trials < 1 or window < 1 or not 0 < threshold <= 1:
            raise ValueError(f"trials {trials}, window {window}, threshold {threshold}")
        self.trials, self.threshold, self.window = trials, threshold, window
        self.praised = 0
        self.fired = False

    def add(self, probability: np.ndarray, success: bool | None) -> bool:
        """One trial: probabilities [T] and the verified outcome (None: nobody verified, which is no success). True once fired."""
        p = np.asarray(probability, dtype=np.float64)
        high = p.max(initial=0.0) if self.window == 1 else (p[-self.window :].mean() if len(p) else 0.0)
        if success:
            self.praised = 0
        elif high >= self.threshold:
            self.praised += 1
        self.fired = self.fired or self.praised >= self.trials
        return self.fired


def first_contact_trial(touched: Iterable[bool]) -> int | None:
    """Number, from 1, of the first trial in which the plug touched the socket (C43); None where none did."""
    return next((i for i, t in enumerate(touched, start=1) if t), None)
