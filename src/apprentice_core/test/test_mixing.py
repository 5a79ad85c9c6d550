"""Spec 001c checklist A1, A9-A11, X3, X4."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.cell import SourceAction
from apprentice_core.mixing import Mixture, mix


def given(*values: float, noise: tuple[float, ...] | None = None, fault: str = "") -> SourceAction:
    return SourceAction(np.array(values, np.float32), None if noise is None else np.array(noise, np.float32), fault)


def mixed(base: SourceAction, *residuals: SourceAction | None) -> Mixture:
    out = mix(base, residuals)
    assert out is not None
    return out


def test_the_command_is_the_sum_of_base_residual_and_noise() -> None:
    out = mixed(given(0.5, -0.25, 0.0), given(0.25, 0.25, -0.5, noise=(0.125, 0.0, 0.25)))
    np.testing.assert_array_equal(out.values, np.float32([0.875, 0.0, -0.25]))
    np.testing.assert_array_equal(out.base, np.float32([0.5, -0.25, 0.0]))
    np.testing.assert_array_equal(out.residual, np.float32([0.25, 0.25, -0.5]))
    np.testing.assert_array_equal(out.noise, np.float32([0.125, 0.0, 0.25]))
    assert not out.fault and out.values.dtype == np.float32


def test_a_residual_of_zeros_is_the_base_bit_for_bit() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 300).astype(np.float32)
    values[:3] = [-0.0, 1.0, -1.0]
    out = mixed(SourceAction(values), SourceAction(np.zeros(300, np.float32), np.zeros(300, np.float32)))
    assert out.values.tobytes() == values.tobytes()
    assert mixed(SourceAction(values), None).values.tobytes() == values.tobytes()


def test_a_base_of_zeros_is_the_residual_alone() -> None:
    np.testing.assert_array_equal(mixed(given(0, 0, 0), given(0.3, -1, 1)).values, np.float32([0.3, -1, 1]))


def test_residual_and_noise_together_stay_within_the_bound() -> None:
    out = mixed(given(-0.5, 0.5), given(0.9, -3.0, noise=(0.4, -0.2)))
    np.testing.assert_allclose(out.residual + out.noise, [1.0, -1.0])
    np.testing.assert_allclose(out.residual, [0.9, -1.0])
    np.testing.assert_allclose(out.values, [0.5, -0.5])


@pytest.mark.parametrize("bad", [given(np.nan, 0), given(np.inf, 0), given(0.1, 0.1, 0.1), given(0.1, 0.1, noise=(np.nan, 0)), given()])
def test_a_broken_residual_is_zero_and_a_fault(bad: SourceAction) -> None:
    out = mixed(given(0.5, 0.2), bad)
    np.testing.assert_array_equal(out.values, np.float32([0.5, 0.2]))
    assert not out.residual.any() and not out.noise.any() and out.fault.startswith("residual: ")


@pytest.mark.parametrize("bad", [given(np.nan, 0), given(0.5, 0.5, fault="never came"), given(0.5, 0.5, noise=(np.inf, 0))])
def test_with_a_broken_base_nothing_moves(bad: SourceAction) -> None:
    out = mixed(bad, given(1.0, 1.0))
    assert not out.values.any() and out.fault


def test_without_a_base_there_is_no_command() -> None:
    assert mix(None, [given(1.0)]) is None
