"""The scripted annotator draws like a person, and is never wrong about success."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_workflows.wheel.annotator import SUCCESS_BAND, Persona, draw


def _episode(frames: int = 71) -> tuple[np.ndarray, np.ndarray]:
    """Reaching, then lifting; success from frame 40 on, lost again at 60."""
    t = np.arange(frames)
    success = (t >= 40) & (t < 60)
    return np.clip(t / 45, 0.0, 1.0) * np.where(t >= 60, 0.3, 1.0), success


@pytest.mark.parametrize("seed", range(20))
def test_only_successful_frames_lie_in_the_band(seed: int) -> None:
    curve, success = _episode()
    values = draw(curve, success, np.random.default_rng(seed))
    assert values.dtype == np.float32 and values.shape == curve.shape and np.isfinite(values).all()
    assert values.min() >= 0.0 and values.max() <= 1.0
    np.testing.assert_array_equal(values >= SUCCESS_BAND, success)


def test_annotators_agree_on_order_and_not_on_scale() -> None:
    curve, success = _episode()
    drawn = np.stack([draw(curve, success, np.random.default_rng(s)) for s in range(30)])
    middle = drawn[:, 25]
    assert np.ptp(middle) > 0.1, "scales differ between episodes"
    # Pairs that truth puts 0.3 apart are nearly always in the same order.
    first, second = np.triu_indices(len(curve), 1)
    truth = np.where(success, 1.3, curve)
    far = np.abs(truth[second] - truth[first]) > 0.3
    agree = (drawn[:, second] > drawn[:, first]) == (truth[second] > truth[first])
    assert agree[:, far].mean() > 0.95


def test_the_curve_is_made_of_strokes() -> None:
    rng = np.random.default_rng(0)
    noisy, success = np.clip(np.linspace(0, 0.8, 100) + rng.normal(0, 0.2, 100), 0, 1), np.zeros(100, dtype=bool)
    values = draw(noisy, success, np.random.default_rng(1), Persona(stroke=(10, 12)))
    # A person's pen does not follow the noise: hardly any bends but at the turns.
    bends = np.abs(np.diff(values, 2)) > 1e-4
    assert bends.sum() <= 25


def test_an_episode_without_progress_stays_low() -> None:
    values = draw(np.zeros(30), np.zeros(30, dtype=bool), np.random.default_rng(3))
    assert values.max() < 0.06
