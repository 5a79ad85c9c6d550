"""What a cell of interactive insertion offers over the nodes: its demonstrator and its boundary (spec 000 section 2.14)."""

from __future__ import annotations

import pytest

from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_runtime.episode_machine import start_of, start_turn_of
from apprentice_runtime.reward_sources import inputs_of, make_reward_source
from apprentice_runtime.scripts import make_script

CELL, TASK = load_cell("sawyer_insertion_velocity"), load_task("insert_usb_interactive")
ROBOT = load_robot(CELL.robot)
SPEC = make_cell_spec(ROBOT, CELL, TASK, TASK.cameras)


def test_the_boundary_is_a_reward_source_of_the_effective_limits() -> None:
    source = make_reward_source({"source": "boundary", "task": TASK.name, "cell": CELL.name}, ROBOT.name)
    assert inputs_of(source, SPEC) == {"tool/pose"}
    assert source.high == pytest.approx([0.638, 0.038, 0.158])  # type: ignore[attr-defined]


def test_the_demonstrator_is_a_script_of_this_task_only() -> None:
    assert make_script("plug_expert", SPEC, ROBOT, CELL, TASK, "teacher").name == "teacher"
    other = load_task("insert_usb")
    with pytest.raises(ApprenticeError, match="tool_velocity"):
        make_script("plug_expert", make_cell_spec(ROBOT, CELL, other, ()), ROBOT, CELL, other)


def test_a_start_from_a_stranger_is_checked() -> None:
    good = {"start": {"tool": [0.6, 0.0, 0.12], "turn": [0.1, -0.1, 0.15]}}
    assert start_of(good) is not None and start_turn_of(good).tolist() == [0.1, -0.1, 0.15] and not start_turn_of({}).any()
    for turn in ([0.1], "x", [0.0, 0.0, 2.0], [0.0, float("nan"), 0.0], {"a": 1}):
        with pytest.raises(ValueError, match="turn"):
            start_turn_of({"start": {"tool": [0, 0, 0], "turn": turn}})
