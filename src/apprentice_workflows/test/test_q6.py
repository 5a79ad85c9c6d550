"""What decides experiment Q6: the rescaling, the intervals and the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_workflows.experiments.q6_ranking import Q6Settings, interval, loss_interval, rescaled, verdict


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


def test_intervals_and_verdict():
    same = [{"a": [90, 100], "b": [90, 100]}]
    assert interval(same) == (0.9, 0.9)
    assert loss_interval({"plain": same, "rescaled": same}) == (0.0, 0.0, 0.0)
    worse = [{"a": [80, 100], "b": [80, 100]}]
    assert loss_interval({"plain": same, "rescaled": worse}) == pytest.approx((0.1, 0.1, 0.1))
    steady, falls, unsure = (0.0, -0.01, 0.01), (0.1, 0.05, 0.15), (0.05, -0.05, 0.15)
    assert verdict(steady, falls) == "holds"
    assert verdict(falls, falls) == "does not hold" and verdict(steady, steady) == "does not hold"
    assert verdict(steady, unsure) == "undecided" and verdict(unsure, falls) == "undecided"
