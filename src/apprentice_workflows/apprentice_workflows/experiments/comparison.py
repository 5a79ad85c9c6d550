"""Rule X15 of spec 001c: A beats B only with Fisher's p below 0.05, or with at least three seeds a side and 95 % intervals apart."""

from __future__ import annotations

from collections.abc import Sequence

from apprentice_core.statistics import mean_interval
from apprentice_workflows.experiments.result import Verdict

SEEDS, LEVEL = 3, 0.05
Counts = tuple[int, int]
"""(successes, trials)"""


def fisher(a: Counts, b: Counts) -> float:
    """Two-sided p of Fisher's exact test."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]])[1])


def beats(a: Counts, b: Counts) -> Verdict:
    """Whether the success rate of a is above that of b; 'does not hold' where b's is above a's by the same rule."""
    if not a[1] or not b[1] or fisher(a, b) >= LEVEL:
        return "undecided"
    return "holds" if a[0] * b[1] > b[0] * a[1] else "does not hold"


def apart(a: Sequence[float], b: Sequence[float], by: float = 0.0) -> Verdict:
    """Whether the mean of a over seeds is above that of b, by a difference of at least `by` in the means."""
    if min(len(a), len(b)) < SEEDS:
        return "undecided"
    (mean_a, low_a, high_a), (mean_b, low_b, high_b) = mean_interval(a), mean_interval(b)
    if low_a > high_b:
        return "holds" if mean_a - mean_b >= by else "does not hold"
    return "does not hold" if high_a < low_b else "undecided"


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """All have to hold; 'undecided' when there are none."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and all(v == "holds" for v in verdicts) else "undecided"
