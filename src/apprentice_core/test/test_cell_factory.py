"""The spec that follows from the shipped configs."""

import math

import pytest

from apprentice_core.cell_factory import choose_cameras, effective_limits, make_cell_spec
from apprentice_core.cell_spec import cell_spec_from_json, cell_spec_to_json
from apprentice_core.config import Limits, load_cell, load_robot, load_task
from apprentice_core.errors import ConfigError


@pytest.fixture
def configs():
    cell = load_cell("sawyer_lift")
    return load_robot(cell.robot), cell, load_task("lift")


def test_the_agent_sees_two_cameras_and_proprioception(configs):
    robot, cell, task = configs
    spec = make_cell_spec(robot, cell, task, choose_cameras(cell, task, "agent"), ["green"], ["scene"])
    names = {a.name for a in spec.observation}
    assert {"camera/basket_front_left", "camera/wrist_left", "wrist/wrench", "tool/pose"} <= names
    assert not any(n.startswith("object/") for n in names)
    assert [a.name for a in spec.privileged] == ["object/green/pose", "object/green/twist"]
    assert cell_spec_from_json(cell_spec_to_json(spec, robot))[0] == spec


def test_choosing_cameras(configs):
    _, cell, task = configs
    assert choose_cameras(cell, task, "all") == tuple(cell.cameras)
    assert choose_cameras(cell, task, "none") == ()
    assert choose_cameras(cell, task, "wrist_left,wrist_depth") == ("wrist_left", "wrist_depth")
    with pytest.raises(ConfigError, match="ceiling"):
        choose_cameras(cell, task, "ceiling")


def test_full_scale_is_what_the_caps_allow(configs):
    robot, cell, task = configs
    limits = effective_limits(robot, cell, task)
    spec = make_cell_spec(robot, cell, task, ())
    assert spec.action_space.dimensions[0].high == limits.linear_velocity
    assert spec.action_space.dimensions[3].high == limits.angular_velocity


def test_a_task_of_another_scene_is_refused(configs):
    robot, cell, _ = configs
    with pytest.raises(ConfigError, match="scene"):
        make_cell_spec(robot, cell, load_task("pick_place"), ())


def test_task_chooses_the_action_space_and_cell_the_connection_signal() -> None:
    cell, task = load_cell("sawyer_lift"), load_task("lift")
    insertion = make_cell_spec(
        load_robot("sawyer"), cell.model_copy(update={"connection": True}), task.model_copy(update={"action": "cartesian_displacement"}), ()
    )
    assert insertion.action_space.name == "cartesian_displacement" and insertion.action_space.size == 3
    assert insertion.action_space.dimensions[0].high == 0.01
    assert "connection/connected" in [a.name for a in insertion.observation]
    plain = make_cell_spec(load_robot("sawyer"), cell, task, ())
    assert plain.action_space.size == 7 and "connection/connected" not in [a.name for a in plain.observation]


def test_the_lift_cell_has_the_box_the_turns_and_the_cameras_of_spec_000(configs) -> None:
    robot, cell, task = configs
    limits = effective_limits(robot, cell, task)
    assert [round(h - w, 6) for w, h in zip(limits.workspace.low, limits.workspace.high, strict=True)] == [0.35, 0.35, 0.15]
    assert [round(math.degrees(r)) for r in limits.rotation] == [30, 90, 180]
    turned = effective_limits(robot, cell.model_copy(update={"limits": Limits(rotation=(0.1, 2.0, 3.0))}), task)
    assert turned.rotation == (0.1, limits.rotation[1], 3.0), "each axis has a bound of its own"
    spec = make_cell_spec(robot, cell, task, choose_cameras(cell, task, "all"))
    shapes = {a.name: a.shape for a in spec.observation}
    cage, wrist = [n for n in shapes if n.startswith("camera/basket")], ["camera/wrist_left", "camera/wrist_right"]
    assert len(cage) == 3 and {shapes[n] for n in cage} == {(80, 128, 3)} and {shapes[n] for n in wrist} == {(96, 128, 3)}
    assert shapes["camera/wrist_depth"] == (171, 224) and len([n for n in shapes if n.startswith("camera/")]) == 6
    felt = {"joints/position", "joints/velocity", "joints/effort", "tool/pose", "tool/twist", "gripper/position", "wrist/wrench"}
    assert felt <= set(shapes)
    assert (spec.action_space.size, task.horizon, cell.timing.control_period) == (7, 200, 0.1)
