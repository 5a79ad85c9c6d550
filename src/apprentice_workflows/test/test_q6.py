"""What decides experiment Q6: the rescaling, the intervals and the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_workflows.experiments.q6_ranking import Q6Settings, drops, interval, rescaled, verdict


@pytest.mark.parametrize("seed", range(20))
def test_rescaling_keeps_order_and_sides(seed: int):
    tau = 0.85
    s = np.sort(np.random.default_rng(seed).random(50)).astype(np.float32)
    s[10] = tau
    out = rescaled(np.sort(s), tau, np.random.default_rng(seed), Q6Settings())
    s = np.sort(s)
    assert (np.diff(out) >= 0).all() and out.min() >= 0 and out.max() <= 1 and out.dtype == np.float32
    t = np.float32(tau)
    assert np.array_equal(s > t, out > t) and np.array_equal(s < t, out < t)
    assert np.abs(out - s).max() > 0.01


def runs(**ordered: int):
    """Two episodes of one seed; the second has hardly a pair, and must weigh as little."""
    return {(*name.split("_"),): [{"a": [n, 100], "b": [0, 1]}] for name, n in ordered.items()}


def test_drops_are_of_pooled_pairs_and_paired():
    found = drops(runs(ranking_plain=95, ranking_rescaled=95, regression_plain=95, regression_rescaled=85))
    assert found["ranking"] == (0.0, 0.0, 0.0)
    assert found["regression"] == found["difference"] and found["regression"][0] == pytest.approx(10 / 101)
    value, low, high = interval([{"a": [90, 100], "b": [1, 2]}])
    assert value == pytest.approx(91 / 102) and low == 0.5 and high == 0.9


@pytest.mark.parametrize(("ranking", "regression", "difference", "expected"), [
    ((0.0, -0.01, 0.01), (0.1, 0.05, 0.15), (0.1, 0.04, 0.16), "holds"),
    ((0.0, -0.01, 0.01), (0.03, 0.01, 0.05), (0.03, -0.01, 0.05), "undecided"),
    ((0.01, -0.01, 0.03), (0.1, 0.05, 0.15), (0.1, 0.04, 0.16), "undecided"),
    ((0.1, 0.05, 0.15), (0.1, 0.05, 0.15), (0.0, -0.1, 0.1), "does not hold"),
    ((0.01, 0.0, 0.015), (0.0, -0.01, 0.01), (-0.01, -0.02, 0.0), "does not hold"),
])
def test_verdict(ranking, regression, difference, expected: str):
    assert verdict({"ranking": ranking, "regression": regression, "difference": difference}) == expected
