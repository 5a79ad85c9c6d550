"""Six velocities in the tool's own axes, the force limiter before the IK, and the boundary that ends an episode (spec 000 section 2.14)."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
import pytest
from arms import Rig

from apprentice_control.boundary import make_boundary
from apprentice_control.safety import ForceGate, Motion
from apprentice_control.scripted import PlugExpert
from apprentice_core.cell_factory import effective_limits, policy_action_space
from apprentice_core.config import Limits, load_cell, load_robot, load_task
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardBatch
from apprentice_core.rotations import matrix_to_quaternion
from apprentice_core.spaces import cartesian_displacement, tool_velocity

SPACE = tool_velocity(0.05, 0.3)
TASK, CELL = load_task("insert_usb_interactive"), load_cell("sawyer_insertion_velocity")
ROBOT = load_robot(CELL.robot)


def pose(rig: Rig):
    return rig.loop.kinematics.forward(rig.loop.setpoint.position)


def test_the_twist_acts_along_the_tools_own_axes_wherever_it_points() -> None:
    rig = Rig()
    for _ in range(8):
        rig.act(np.float32([0, 0, 0, 0.6, 0.9, 0]), SPACE)
    start = pose(rig)
    assert np.linalg.norm(pin.log3(start.rotation @ rig.loop.chain.home_pose.rotation.T)) > 0.2
    given = np.float32([0.2, -0.4, 0.6, 0.1, 0.0, -0.3])
    record = rig.act(given, SPACE)
    end = pose(rig)
    assert np.allclose(start.rotation.T @ (end.position - start.position), [0.001, -0.002, 0.003], atol=3e-5)
    assert np.allclose(pin.log3(start.rotation.T @ end.rotation), [0.003, 0, -0.009], atol=3e-5)
    assert (record.executed == given).all() and rig.arm.closed is None


def test_what_a_stage_took_away_is_recorded_in_the_tools_axes() -> None:
    rig = Rig()
    rig.act(np.zeros(6, np.float32), SPACE)
    rig.force[:] = [0, 0, 25.0]
    rig.run(100)
    start = pose(rig)
    down = start.rotation.T @ [0, 0, -1.0]
    record = rig.act(np.append(0.5 * down, [0, 0, 0.2]).astype(np.float32), SPACE)
    assert np.allclose(pose(rig).position, start.position, atol=5e-5)
    assert np.allclose(record.executed, [0, 0, 0, 0, 0, 0.2], atol=2e-3) and "force_soft" in rig.codes()


def test_the_effective_space_of_the_task_is_what_the_arm_accepts() -> None:
    space = policy_action_space(effective_limits(ROBOT, CELL, TASK), TASK)
    assert (space.name, space.frame, space.size) == ("tool_velocity", "tool", 6)
    assert np.allclose(space.to_si(np.ones(6)), [0.05] * 3 + [0.3] * 3) and Rig().loop.chain.unusable(space) == ""
    assert ROBOT.control == "velocity" and (TASK.horizon, TASK.cameras, TASK.proprio) == (150, ("wrist",), ())
    assert CELL.cameras["wrist"].record == (84, 84) and CELL.timing.control_period == 0.1


def motion(force: float, down: float = -0.05) -> Motion:
    return Motion(np.zeros(3), np.eye(3), np.array([0.02, 0.0, down, 0.0, 0.0, 0.1]), 0.1, np.array([0.0, 0.0, force]))


def test_the_limiter_slows_the_advance_down_linearly_and_only_that() -> None:
    for force, left in ((5.0, 1.0), (12.5, 0.75), (15.0, 0.5), (19.0, 0.1), (25.0, 0.0)):
        asked = motion(force)
        told = ForceGate(20.0, 50.0, 10.0)(asked)
        assert asked.twist == pytest.approx([0.02, 0, -0.05 * left, 0, 0, 0.1]) and told.changed == (left < 1)
    away = motion(25.0, down=0.05)
    assert not ForceGate(20.0, 50.0, 10.0)(away).changed
    slanted = Motion(np.zeros(3), np.eye(3), np.array([0.05, 0, 0, 0, 0, 0]), 0.1, np.array([-12.0, 0.0, 9.0]))
    ForceGate(20.0, 50.0, 10.0)(slanted)
    along = np.array([-0.8, 0.0, 0.6])
    assert along @ slanted.twist[:3] == pytest.approx(0.5 * -0.04) and slanted.twist[2] > 0


def test_the_limiter_remembers() -> None:
    gate = ForceGate(20.0, 50.0, 10.0)
    left = []
    for force in (20.0, 0.5, 0.5, 0.5, 0.5, 0.5):
        asked = motion(force)
        gate(asked)
        left.append(asked.twist[2] / -0.05)
    assert left == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    without = ForceGate(20.0, 50.0)
    for force, advance in ((20.5, 0.0), (0.5, 1.0)):
        asked = motion(force)
        without(asked)
        assert asked.twist[2] == pytest.approx(-0.05 * advance)


def test_the_boundary_is_terminal_and_the_safety_chain_lets_the_tool_come_there() -> None:
    limits = effective_limits(ROBOT, CELL, TASK)
    boundary = make_boundary(ROBOT, limits)
    assert np.allclose(np.subtract(limits.workspace.high, limits.workspace.low), [0.08, 0.08, 0.15])
    home = Rig(ROBOT).loop.chain.home_pose.rotation

    def reached(position: list[float], turn: list[float]) -> bool:
        rotation = pin.exp3(np.array(turn)) @ home
        arrays = {"tool/pose": np.append(position, matrix_to_quaternion(rotation)).astype(np.float32)[None]}
        given = boundary.compute_reward(RewardBatch(arrays, np.zeros((1, 6)), arrays, np.zeros(1), np.zeros(1)))["reached"]
        assert given.terminal[0] == bool(given.value[0]) and not given.success[0] and given.valid[0]
        return bool(given.terminal[0])

    assert not reached([0.63, -0.03, 0.15], [0.15, -0.15, 0.15])
    assert reached([0.6, 0.039, 0.1], [0, 0, 0]) and reached([0.6, 0.0, 0.159], [0, 0, 0]) and reached([0.6, 0.0, 0.1], [0, 0.295, 0])
    rig = Rig(ROBOT, TASK.limits.model_copy(update={"joint_velocity": None}), cycle=0.001)
    space = policy_action_space(limits, TASK)
    for _ in range(30):
        rig.act(rig_away(rig), space)
    at = pose(rig)
    assert reached(at.position.tolist(), pin.log3(at.rotation @ home.T).tolist()) and at.position[1] <= 0.04 + 1e-6


def rig_away(rig: Rig) -> np.ndarray:
    return np.append(pose(rig).rotation.T @ [0, 1.0, 0], np.zeros(3)).clip(-1, 1).astype(np.float32)


def test_the_demonstrator_comes_over_the_socket_straight_and_then_in() -> None:
    rig = Rig(ROBOT, effective_limits(ROBOT, CELL, TASK))
    goal = np.array([0.6, 0.0, 0.07])
    expert = PlugExpert(ROBOT, policy_action_space(effective_limits(ROBOT, CELL, TASK), TASK))
    expert.reset(EpisodeContext("01J0000000000000000000000A", TASK.name))
    segment = Segment(goal={"position": goal.astype(np.float32)})
    rig.act(np.float32([0.5, 0.5, 0, 0.5, -0.5, 0.5]), expert.action_space)
    low, asides = [], []
    for _ in range(120):
        at = pose(rig)
        tool = np.append(at.position, matrix_to_quaternion(at.rotation)).astype(np.float32)
        answer = expert.act({"tool/pose": tool}, segment)
        if answer.request_end:
            break
        rig.act(answer.values, expert.action_space)
        low.append(at.position[2]), asides.append(np.hypot(*(at.position - goal)[:2]))
    assert answer.request_end and all(a < 0.0025 for a, z in zip(asides, low, strict=True) if z < goal[2] + 0.015)
    with pytest.raises(ApprenticeError, match="tool_velocity"):
        PlugExpert(ROBOT, cartesian_displacement())
    with pytest.raises(ValueError, match="position"):
        expert.act({"tool/pose": tool}, Segment())


def test_limits_may_only_tighten_where_slowing_begins() -> None:
    both = effective_limits(ROBOT, CELL.model_copy(update={"limits": Limits(force_slow=5.0)}), TASK)
    assert both.force_slow == 5.0
