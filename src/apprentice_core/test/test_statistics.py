import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apprentice_core.statistics import difference, percentile, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # published worked examples: Wilson 1927 form, z = 1.96
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (20, 25, 0.6087, 0.9114),
        (1, 20, 0.0089, 0.2361),
    ],
)
def test_wilson_known_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_equation_and_mirrors(case: tuple[int, int]) -> None:
    k, n = case
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = wilson(n - k, n)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))
    for bound in (low, high):  # the interval's ends are where |p - bound| = z sqrt(bound (1 - bound) / n)
        if 0 < bound < 1:
            assert abs(k / n - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / n), abs=1e-6)


def test_wilson_edges() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    for wrong in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="successes"):
            wilson(*wrong)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentile_agrees_with_numpy(values: list[float], q: float) -> None:
    import numpy as np

    assert percentile(values, q) == pytest.approx(float(np.percentile(values, q)), rel=1e-9, abs=1e-6)
    assert math.isnan(percentile([], 50))


def test_difference_of_rates() -> None:
    # Newcombe 1998, method 10: 56/70 against 48/80 and 10/10 against 0/20.
    assert difference(56, 70, 48, 80) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert difference(10, 10, 0, 20) == pytest.approx((1.0, 0.6791, 1.0), abs=1e-3)
    assert difference(0, 0, 3, 5) == (0.0, -1.0, 1.0)
    value, low, high = difference(3, 10, 5, 10)
    assert (-value, -high, -low) == pytest.approx(difference(5, 10, 3, 10))
