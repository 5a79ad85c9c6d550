"""A17: control noise on the summed command, before the caps, recorded, in simulation only."""

from __future__ import annotations

import numpy as np
import pytest
from arms import Rig

from apprentice_control.disturbance import Disturbance, disturbance_of
from apprentice_core.errors import SafetyError
from apprentice_core.spaces import cartesian_displacement, cartesian_velocity_gripper

SPACE = cartesian_displacement()


def test_it_has_the_mean_and_the_deviation_on_its_axes() -> None:
    zero = np.zeros(3, dtype=np.float32)
    every, first = Disturbance(SPACE.name, 0.2, 0.05, "all", 1), Disturbance(SPACE.name, 0.2, 0.05, "x", 1)
    drawn = np.array([every(SPACE, zero)[0] for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0.2, atol=0.004)
    np.testing.assert_allclose(drawn.std(axis=0), 0.05, rtol=0.05)
    only = np.array([first(SPACE, zero)[0] for _ in range(50)])
    assert only[:, 0].std() > 0.02 and not only[:, 1:].any()
    again = Disturbance(SPACE.name, 0.2, 0.05, "all", 1)
    np.testing.assert_array_equal([again(SPACE, zero)[0] for _ in range(5)], drawn[:5])


def test_it_comes_before_the_caps_and_is_on_record() -> None:
    rig = Rig()
    rig.loop.disturb(Disturbance(SPACE.name, 0.5, 0.0, "x"))
    done = rig.act([0.2, 0.1, 0.0], SPACE)
    stages = {s.name: s for s in done.stages}
    assert list(stages)[:3] == ["nan", "disturbance", "cap"]
    np.testing.assert_allclose(stages["disturbance"].before, [0.2, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(stages["disturbance"].after, [0.7, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(done.mixed, [0.2, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(done.executed, [0.7, 0.1, 0.0], atol=0.02)
    assert done.reason == "" and not rig.codes(), "noise is no intervention of the safety chain"
    capped = rig.act([0.9, 0.0, 0.0], SPACE)
    np.testing.assert_allclose(capped.executed, [1.0, 0.0, 0.0], atol=0.02)


def test_the_space_of_a_reset_is_left_alone() -> None:
    rig = Rig()
    rig.loop.disturb(Disturbance(SPACE.name, 0.5, 0.1))
    done = rig.act([0.0] * 7, cartesian_velocity_gripper())
    assert not done.executed.any() and not any(s.changed for s in done.stages)


def test_an_arm_of_metal_refuses_it() -> None:
    rig = Rig(capabilities=frozenset())
    with pytest.raises(SafetyError, match="simulation"):
        rig.loop.disturb(Disturbance(SPACE.name, 0.1, 0.0))
    rig.loop.disturb(None)


@pytest.mark.parametrize("asked", [3, {"mu": 0.1}, {"sigma": -1.0}, {"mean": float("nan")}, {"sigma": "big"}, {"axes": "z"}])
def test_what_an_episode_asks_for_is_checked(asked: object) -> None:
    with pytest.raises(ValueError, match="disturbance"):
        disturbance_of({"disturbance": asked}, SPACE.name, 1)


def test_an_episode_without_one_has_none() -> None:
    assert disturbance_of({}, SPACE.name, 1) is None
    found = disturbance_of({"disturbance": {"mean": 0.1, "sigma": 0.05}}, SPACE.name, 1)
    assert found is not None and (found.mean, found.sigma, found.axes) == (0.1, 0.05, "all")
