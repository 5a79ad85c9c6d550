"""What the cloth's expert asks for, given its highest point."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_control.scripted import ClothExpert, make_expert
from apprentice_core.config import load_robot, load_task
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import quaternion_from_rpy
from apprentice_core.spaces import cartesian_velocity_gripper


def _expert(failures: float = 0.0, seed: int = 3) -> ClothExpert:
    expert = make_expert(load_robot("sawyer"), load_task("lift_cloth"), cartesian_velocity_gripper(), 0.1, failures=failures)
    assert isinstance(expert, ClothExpert)
    expert.reset(EpisodeContext("01J0000000000000000000000A", "lift_cloth", seed=seed))
    return expert


def _act(expert: ClothExpert, tool: tuple[float, float, float], top: tuple[float, float, float]) -> np.ndarray:
    pose = np.array([*tool, *quaternion_from_rpy(0.0, np.pi, 0.0)], dtype=np.float32)
    privileged = {"object/cloth/top/pose": np.array([*top, 0, 0, 0, 1], dtype=np.float32)}
    return expert.act({"tool/pose": pose}, Segment(), privileged).values


def test_it_pinches_below_the_highest_point_and_pulls_up() -> None:
    expert = _expert()
    top = (0.65, 0.05, 0.04)
    high = _act(expert, (0.55, 0.0, 0.15), top)
    assert high[0] == pytest.approx(1.0) and high[1] == pytest.approx(0.5) and high[2] < 0 and high[6] == -1.0, "towards it, fingers open"
    # Once it is near, a cloth that gives way does not lead it astray.
    assert _act(expert, (0.65, 0.05, 0.06), (0.60, 0.0, 0.04))[0] == pytest.approx(0.0, abs=1e-6)
    assert _act(expert, (0.65, 0.05, 0.02), top)[6] == 1.0
    while _act(expert, (0.65, 0.05, 0.018), top)[2] < 0.9:
        assert expert._steps_closed < 10
    assert _act(expert, (0.65, 0.05, 0.09), (0.65, 0.05, 0.095))[6] == 1.0


def test_a_pinch_that_slipped_is_tried_again() -> None:
    expert = _expert()
    for _ in range(9):
        values = _act(expert, (0.65, 0.05, 0.018), (0.65, 0.05, 0.04))
    assert values[2] > 0.9 and values[6] == 1.0
    assert _act(expert, (0.65, 0.05, 0.09), (0.65, 0.05, 0.04))[6] == -1.0
    again = _act(expert, (0.65, 0.05, 0.10), (0.65, 0.05, 0.04))
    assert again[6] == -1.0 and again[2] < 0 and again[5] != 0.0, "down again, turned"


def test_failures_on_purpose_pinch_the_air_or_let_go() -> None:
    kinds = set()
    for seed in range(8):
        expert = _expert(1.0, seed)
        letting_go = expert._drop_at is not None
        kinds.add(letting_go)
        closed_at = 0.018 if letting_go else 0.068
        for _ in range(9):
            values = _act(expert, (0.65, 0.05, closed_at), (0.65, 0.05, 0.04))
        assert values[6] == 1.0
        last = _act(expert, (0.65, 0.05, closed_at + 0.12), (0.65, 0.05, 0.14 if letting_go else 0.04))
        assert last[6] == (-1.0 if letting_go else 1.0)
    assert kinds == {True, False}


def test_it_needs_the_highest_point() -> None:
    expert = _expert()
    with pytest.raises(KeyError, match="object/cloth/top/pose"):
        expert.act({"tool/pose": np.zeros(7, dtype=np.float32)}, Segment(), None)
