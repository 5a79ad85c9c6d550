from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apprentice_runtime.mux import Mux
from apprentice_runtime.tick import Answer


def answer(step: int, source: str, values=(0.5, 0.0), noise=(), engaged: bool = False, fault: str = "") -> Answer:
    return Answer(step, "e", source, np.array(values, np.float32), np.array(noise, np.float32), engaged=engaged, fault=fault)


def test_one_source_with_noise_is_clipped_and_given_once():
    mux = Mux()
    mux.tick(1, "e", ("policy",), False)
    command = mux.answer(answer(1, "policy", (0.9, -0.2), (0.3, 0.1)), 0.0)
    assert command is not None
    np.testing.assert_allclose(command.values, [1.0, -0.1], atol=1e-6)
    assert mux.answer(answer(1, "policy"), 0.0) is None
    assert mux.stale == 1


def test_answer_that_overtakes_its_tick_is_kept():
    mux = Mux()
    assert mux.answer(answer(5, "policy"), 0.0) is None
    mux.tick(5, "e", ("policy",), False)
    assert mux.poll(0.0) is not None


def test_old_answers_are_dropped_and_counted():
    mux = Mux()
    mux.tick(4, "e", ("policy",), False)
    mux.tick(5, "e", ("policy",), False)
    assert mux.answer(answer(4, "policy"), 0.0) is None
    assert mux.stale == 1
    assert mux.answer(answer(5, "policy"), 0.0) is not None


def test_missing_base_gives_nothing():
    mux = Mux()
    mux.tick(1, "e", ("policy", "residual"), False)
    assert mux.answer(answer(1, "residual"), 0.0) is None
    assert mux.poll(100.0) is None


def test_residual_is_added_and_both_are_kept():
    mux = Mux()
    mux.tick(1, "e", ("policy", "residual"), False)
    assert mux.answer(answer(1, "policy", (0.5, 0.2)), 0.0) is None
    command = mux.answer(answer(1, "residual", (0.1, -0.4)), 0.0)
    assert command is not None
    np.testing.assert_allclose(command.values, [0.6, -0.2], atol=1e-6)
    np.testing.assert_allclose(command.base, [0.5, 0.2])
    np.testing.assert_allclose(command.residual, [0.1, -0.4])


def test_missing_residual_is_zero_after_its_time():
    mux = Mux(residual_timeout=0.5)
    mux.tick(1, "e", ("policy", "residual"), False)
    mux.answer(answer(1, "policy", (0.5, 0.2)), 10.0)
    assert mux.poll(10.4) is None
    command = mux.poll(10.6)
    assert command is not None
    np.testing.assert_allclose(command.values, [0.5, 0.2])
    np.testing.assert_array_equal(command.residual, [0.0, 0.0])
    assert mux.residuals_missing == 1


def test_take_over_and_hand_back_drop_no_tick():
    mux = Mux()
    drivers = []
    for step in range(1, 9):
        mux.tick(step, "e", ("policy",), False)
        engaged = 3 <= step < 6
        commands = [mux.answer(answer(step, "teleop", (-1.0, 1.0), engaged=engaged), 0.0), mux.answer(answer(step, "policy"), 0.0)]
        given = [c for c in commands if c is not None]
        assert len(given) == 1, f"step {step}"
        drivers.append((given[0].source, given[0].engaged))
    assert drivers == [("policy", False)] * 2 + [("teleop", True)] * 3 + [("policy", False)] * 3


def test_take_over_after_the_command_counts_from_the_next_tick():
    mux = Mux()
    mux.tick(1, "e", ("policy",), False)
    first = mux.answer(answer(1, "policy"), 0.0)
    assert first is not None and mux.answer(answer(1, "teleop", engaged=True), 0.0) is None
    mux.tick(2, "e", ("policy",), False)
    assert mux.answer(answer(2, "policy"), 0.0) is None
    second = mux.answer(answer(2, "teleop", engaged=True), 0.0)
    assert second is not None and second.source == "teleop"


def test_service_take_over_stays_until_the_service_hands_back():
    mux = Mux()
    assert mux.take("nobody", True)
    assert mux.take("teleop", True) == ""
    mux.tick(1, "e", ("policy",), False)
    mux.answer(answer(1, "policy"), 0.0)
    command = mux.answer(answer(1, "teleop", engaged=False), 0.0)
    assert command is not None and command.source == "teleop" and command.engaged
    mux.take("teleop", False)
    mux.tick(2, "e", ("policy",), False)
    command = mux.answer(answer(2, "policy"), 0.0)
    assert command is not None and command.source == "policy"


@pytest.mark.parametrize(("values", "noise"), [((np.nan, 0.0), ()), ((0.0, 0.0), (np.inf, 0.0)), ((0.0, 0.0), (0.1,))])
def test_what_is_not_finite_or_does_not_fit_becomes_zero_and_a_fault(values, noise):
    mux = Mux()
    mux.tick(1, "e", ("policy",), False)
    command = mux.answer(answer(1, "policy", values, noise), 0.0)
    assert command is not None and command.fault
    np.testing.assert_array_equal(command.values, [0.0, 0.0])
    assert mux.faults == 1


def test_residual_of_wrong_shape_is_left_out_with_a_fault():
    mux = Mux()
    mux.tick(1, "e", ("policy", "residual"), False)
    mux.answer(answer(1, "policy", (0.5, 0.2)), 0.0)
    command = mux.answer(answer(1, "residual", (0.1, 0.1, 0.1)), 0.0)
    assert command is not None and "residual" in command.fault
    np.testing.assert_allclose(command.values, [0.5, 0.2])


def test_final_tick_is_not_answered():
    mux = Mux()
    mux.tick(1, "e", (), True)
    assert mux.answer(answer(1, "policy"), 0.0) is None


def test_residuals_of_other_steps_are_never_used():
    mux = Mux(residual_timeout=0.5)
    mux.tick(1, "e", ("base", "residual"), False)
    mux.answer(answer(1, "base", (0.5, 0.2)), 0.0)
    assert mux.poll(0.6) is not None
    assert mux.answer(answer(1, "residual", (0.9, 0.9)), 0.7) is None, "too late for its own step"
    mux.tick(2, "e", ("base", "residual"), False)
    assert mux.answer(answer(1, "residual", (0.9, 0.9)), 0.8) is None
    assert mux.answer(answer(2, "base", (0.5, 0.2)), 0.8) is None, "the base waits for the residual of step 2"
    command = mux.poll(1.4)
    assert command is not None
    np.testing.assert_allclose(command.values, [0.5, 0.2])
    assert mux.residuals_missing == 2 and mux.stale == 2


def test_a_residual_of_nan_is_zero_and_counted_as_a_fault():
    mux = Mux()
    mux.tick(1, "e", ("base", "residual"), False)
    mux.answer(answer(1, "base", (0.5, 0.2)), 0.0)
    command = mux.answer(answer(1, "residual", (np.nan, 0.1)), 0.0)
    assert command is not None and "nan" in command.fault and mux.faults == 1
    np.testing.assert_allclose(command.values, [0.5, 0.2])
    np.testing.assert_array_equal(command.residual, [0.0, 0.0])


def test_the_record_names_the_policy_of_the_residual():
    mux = Mux()
    mux.tick(1, "e", ("base", "residual"), False)
    mux.answer(answer(1, "base"), 0.0)
    command = mux.answer(replace(answer(1, "residual"), bundle_id="r1"), 0.0)
    assert command is not None and (command.source, command.bundle_id) == ("base", "r1")
