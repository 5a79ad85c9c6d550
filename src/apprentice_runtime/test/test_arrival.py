from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apprentice_core.cell import OPERATOR_NEEDED
from apprentice_core.config import load_robot
from apprentice_runtime.arrival import Arrival, failed_reset

SAWYER = load_robot("sawyer")
START = {"start": {"tool": [0.6, 0.0, 0.12]}}


def seen(
    tool: tuple[float, float, float] = (0.6, 0.0, 0.12), joint: float = 0.0, speed: float = 0.0, finger: float = 0.006
) -> dict[str, Any]:
    q = np.array(SAWYER.home, dtype=np.float32)
    q[2] += joint
    return {
        "joints/position": q, "joints/velocity": np.full(7, speed, np.float32), "gripper/position": np.full(2, finger, np.float32),
        "tool/pose": np.array([*tool, 0, 1, 0, 0], np.float32),
    }


def make() -> Arrival:
    return Arrival(SAWYER, 0.05, 0.002, 0.05)


def test_without_a_start_it_is_the_joints_that_count() -> None:
    assert make().error({}, seen((9, 9, 9))) == ""
    assert make().error({}, seen(joint=0.1)) == "right_j2 is 0.100 rad from home"
    assert "still moves" in make().error({}, seen(speed=0.1))


def test_with_a_start_it_is_the_tool() -> None:
    assert make().error(START, seen(joint=0.3)) == ""
    assert make().error(START, seen((0.6, 0.0, 0.09))) == "the tool is 30.0 mm from the episode's start"
    assert "still moves" in make().error(START, seen(speed=0.1))
    assert failed_reset(3, "x", START).startswith(OPERATOR_NEEDED) and not failed_reset(3, "x", {}).startswith(OPERATOR_NEEDED)


def test_a_plug_that_is_lost_between_episodes_calls_for_a_person_until_one_was_there() -> None:
    arrival = make()
    assert arrival.error(START, seen()) == "" and arrival.error(START, seen(finger=0.0062)) == ""
    for _ in range(2):
        assert arrival.error(START, seen(finger=0.0)).startswith(OPERATOR_NEEDED + "the plug is lost")
    arrival.forget_grip()
    assert arrival.error(START, seen(finger=0.004)) == "", "another plug may be of another width"


def test_a_foreign_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"start\.tool"):
        make().error({"start": {"tool": "there"}}, seen())
