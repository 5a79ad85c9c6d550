"""How well a reward model orders frames and tells success (spec 000 checklist line 47)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice_learning.rewards.sketch_loss import SketchLossConfig


@dataclass
class Counts:
    """Sums over sketches. A pair is an ordered one whose sketches differ by more than mu_s; frames at exactly tau_s are nobody's."""

    pairs: int = 0
    ordered: int = 0
    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    correct_rejections: int = 0

    def add(self, reward: np.ndarray, sketch: np.ndarray, margins: SketchLossConfig, threshold: float) -> None:
        """One sketch: reward and sketch float32 [F]."""
        counts = (sketch[None, :] - sketch[:, None]) > margins.mu_s
        self.pairs += int(counts.sum())
        self.ordered += int((counts & (reward[None, :] > reward[:, None])).sum())
        said, good, bad = reward > threshold, sketch > margins.tau_s, sketch < margins.tau_s
        self.hits += int((said & good).sum())
        self.false_alarms += int((said & bad).sum())
        self.misses += int((~said & good).sum())
        self.correct_rejections += int((~said & bad).sum())

    def as_dict(self) -> dict[str, float]:
        """Fractions; what has nothing to be a fraction of is left out."""
        out: dict[str, float] = {}
        for name, part, whole in (
            ("pair_accuracy", self.ordered, self.pairs),
            ("success_precision", self.hits, self.hits + self.false_alarms),
            ("success_recall", self.hits, self.hits + self.misses),
        ):
            if whole:
                out[name] = part / whole
        return out
