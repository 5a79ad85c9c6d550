import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apprentice_core.spaces import (
    ArraySpec,
    cartesian_displacement,
    cartesian_velocity_gripper,
    check_observation,
    joint_velocity_gripper,
    observation_digest,
)

SPACE = cartesian_velocity_gripper()


@given(st.lists(st.floats(-1, 1, width=32), min_size=7, max_size=7))
def test_rescaling_is_invertible(values):
    action = np.array(values, dtype=np.float32)
    assert np.allclose(SPACE.from_si(SPACE.to_si(action)), action, atol=1e-6)


def test_native_ranges_are_those_of_spec_000():
    assert SPACE.to_si(np.ones(7)).tolist() == [0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 1.0]
    assert SPACE.to_si(np.full(7, -9.0)).tolist() == [-0.1, -0.1, -0.1, -0.5, -0.5, -0.5, -1.0]


@pytest.mark.parametrize("bad", [np.full(7, np.nan), [np.inf] * 7, np.zeros(6), np.zeros((1, 7)), "go", None, [None] * 7, {"a": 1}])
def test_hostile_actions_become_neutral_with_a_reason(bad):
    values, fault = SPACE.clean(bad)
    assert fault and np.array_equal(values, np.zeros(7, np.float32)) and values.dtype == np.float32


def test_huge_actions_are_clipped_and_keep_their_sign():
    values, fault = SPACE.clean([1e30, -1e30, 0, 0.5, 0, 0, 2])
    assert fault == "" and values.tolist() == [1, -1, 0, 0.5, 0, 0, 1]


def test_the_hash_tells_spaces_apart():
    hashes = {s.hash for s in (SPACE, cartesian_velocity_gripper(0.2), cartesian_displacement(), joint_velocity_gripper(["a", "b"]))}
    assert len(hashes) == 4 and SPACE.hash == cartesian_velocity_gripper().hash


def test_digest_sees_every_bit_and_ignores_order():
    a = {"x": np.zeros(3, np.float32), "y": np.ones((2, 2), np.uint8)}
    b = dict(reversed(list(a.items())))
    assert observation_digest(a) == observation_digest(b)
    flipped = {**a, "x": np.array([0, 0, -0.0], np.float32)}
    assert observation_digest(a) != observation_digest(flipped)
    assert observation_digest(a) != observation_digest({**a, "y": a["y"].reshape(4)})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, np.float32), "shape"),
        (np.zeros(3, np.float64), "dtype"),
        (np.array([0, np.nan, 0], np.float32), "NaN"),
    ],
)
def test_a_wrong_array_is_named(array, message):
    with pytest.raises(ValueError, match=f"tool/pose.*{message}"):
        check_observation({"tool/pose": array}, [ArraySpec("tool/pose", (3,))])


def test_an_absent_array_is_named():
    with pytest.raises(ValueError, match="lacks tool/pose"):
        check_observation({}, [ArraySpec("tool/pose", (3,))])
