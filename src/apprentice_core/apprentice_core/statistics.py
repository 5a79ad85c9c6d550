"""Statistics of small samples, as reports and benches use them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""two-sided 95 % quantile of the normal distribution"""


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """(low, high) of the Wilson score interval of a proportion; (0, 1) for n = 0. ValueError unless 0 <= successes <= n."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def difference(successes_a: int, a: int, successes_b: int, b: int) -> tuple[float, float, float]:
    """(rate of a minus rate of b, low, high): Newcombe's 95 % interval, made of both Wilson intervals; (0, -1, 1) without trials of one."""
    if not a or not b:
        return 0.0, -1.0, 1.0
    (low_a, high_a), (low_b, high_b) = wilson(successes_a, a), wilson(successes_b, b)
    pa, pb = successes_a / a, successes_b / b
    low = pa - pb - math.hypot(pa - low_a, high_b - pb)
    high = pa - pb + math.hypot(high_a - pa, pb - low_b)
    return pa - pb, low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of Student's 95 % interval over independent runs; ends at infinity for fewer than two, NaN for none."""
    n = len(values)
    if not n:
        return math.nan, math.nan, math.nan
    mean = math.fsum(values) / n
    if n == 1:
        return mean, -math.inf, math.inf
    from scipy import stats

    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Proportion:
    """Successes of n episodes under a name."""

    name: str
    successes: int
    episodes: int

    def as_dict(self) -> dict[str, object]:
        low, high = wilson(self.successes, self.episodes)
        return {"name": self.name, "successes": self.successes, "episodes": self.episodes, "wilson_low": low, "wilson_high": high}


def percentile(values: Sequence[float], q: float) -> float:
    """Linear-interpolated percentile, q in [0, 100]; NaN for no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
