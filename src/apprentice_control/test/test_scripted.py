"""The scripts without a simulator: what they ask for, given poses."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import HomeReset, RandomWatcher, make_expert
from apprentice_control.scripted.servo import ActionNoise, Servo, ToolAxes, wrap
from apprentice_core.cell import ActionSource
from apprentice_core.config import load_robot, load_task
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import quaternion_from_rpy
from apprentice_core.spaces import cartesian_velocity_gripper

SPACE = cartesian_velocity_gripper()
CONTEXT = EpisodeContext("01J0000000000000000000000A", "lift", seed=3)


def _observation(position: tuple[float, float, float], yaw: float = 0.0, opening: float = 0.0425) -> dict[str, np.ndarray]:
    """Sawyer's tool pointing down, fingers closing along base y turned by `yaw`."""
    q = quaternion_from_rpy(0.0, np.pi, yaw)
    return {
        "tool/pose": np.array([*position, *q], dtype=np.float32), "gripper/position": np.full(2, opening, dtype=np.float32),
        "gripper/velocity": np.zeros(2, dtype=np.float32),
    }


def _green(x: float, y: float, yaw: float) -> dict[str, np.ndarray]:
    return {"object/green/pose": np.array([x, y, 0.021, 0, 0, np.sin(yaw / 2), np.cos(yaw / 2)], dtype=np.float32)}


def test_sources() -> None:
    robot, task = load_robot("sawyer"), load_task("lift")
    expert = make_expert(robot, task, SPACE, 0.1)
    assert all(isinstance(s, ActionSource) for s in (expert, RandomWatcher(robot), HomeReset(robot, Kinematics(robot))))
    with pytest.raises(KeyError, match="object/green/pose"):
        expert.reset(CONTEXT)
        expert.act(_observation((0.6, 0, 0.15)), Segment())


def test_the_expert_turns_the_short_way_and_goes_straight() -> None:
    expert = make_expert(load_robot("sawyer"), load_task("lift"), SPACE, 0.1)
    expert.reset(CONTEXT)
    for yaw in (0.3, 0.3 + np.pi / 2, 0.3 - np.pi):
        values = expert.act(_observation((0.6, 0.0, 0.15)), Segment(), _green(0.7, 0.05, yaw)).values
        assert values[5] == pytest.approx(1.0)  # 0.3 rad to the left, more than one step's worth
        assert values[0] == pytest.approx(1.0) and values[1] == pytest.approx(0.5, abs=1e-4) and values[6] == -1.0
        assert np.abs(values[3:5]).max() < 1e-3 and np.abs(values).max() <= 1.0
    values = expert.act(_observation((0.7, 0.05, 0.017)), Segment(), _green(0.7, 0.05, 0.0)).values
    assert values[6] == 1.0 and np.abs(values[:6]).max() < 0.01


def test_a_missed_grasp_is_tried_again() -> None:
    expert = make_expert(load_robot("sawyer"), load_task("lift"), SPACE, 0.1)
    expert.reset(CONTEXT)
    at, target = (0.7, 0.05, 0.017), _green(0.7, 0.05, 0.0)
    for _ in range(3):
        assert expert.act(_observation(at, opening=0.0), Segment(), target).values[6] == 1.0 or expert._held_at is None
    assert expert._held_at is None
    values = expert.act(_observation((0.7, 0.05, 0.03)), Segment(), target).values
    assert values[6] == -1.0


def test_random_watcher_is_seeded_and_toggles() -> None:
    robot = load_robot("sawyer")

    def record(seed: int) -> np.ndarray:
        watcher = RandomWatcher(robot, seed=seed)
        watcher.reset(CONTEXT)
        return np.array([watcher.act(_observation((0.6, 0.0, 0.1)), Segment()).values for _ in range(2000)])

    a = record(1)
    np.testing.assert_array_equal(a, record(1))
    assert not np.array_equal(a, record(2))
    toggles = int((np.diff(a[:, 6]) != 0).sum())
    assert 60 < toggles < 140  # 0.05 a step
    assert np.abs(a).max() <= 1.0 and (np.abs(a[:, :3]).max(axis=0) == 1.0).all()


def test_random_watcher_has_goals_all_over_the_box_and_toggles_whatever_the_arm_does() -> None:
    robot = load_robot("sawyer")
    watcher = RandomWatcher(robot, seed=3)
    watcher.reset(CONTEXT)
    box, at = robot.limits.workspace, np.array([0.6, 0.0, 0.1])
    goals, toggled, gripper = [watcher._goal], {True: [], False: []}, -1.0
    for _ in range(6000):
        values = watcher.act(_observation(tuple(at)), Segment()).values
        new = watcher._goal is not goals[-1]
        if new:
            goals.append(watcher._goal)
        toggled[new].append(values[6] != gripper)
        gripper = values[6]
        at = at + 0.1 * SPACE.to_si(values)[:3]
        assert (at > np.array(box.low) - 0.01).all() and (at < np.array(box.high) + 0.01).all(), "a perfect arm never leaves the box"
    sides = np.subtract(box.high, box.low)
    assert len(goals) > 150 and (np.ptp(goals, axis=0) > 0.9 * sides).all()
    assert (np.array(goals) >= box.low).all() and (np.array(goals) <= box.high).all()
    assert 0.03 < np.mean(toggled[False]) < 0.07 and np.mean(toggled[True]) < 0.15, "reaching a goal does not move the gripper"


def test_home_reset_retracts_first_and_ends_at_home() -> None:
    robot = load_robot("sawyer")
    kinematics = Kinematics(robot)
    reset = HomeReset(robot, kinematics)
    reset.reset(CONTEXT)
    home = np.array(robot.home)
    low = home + np.array([0.0, 0.12, 0.0, 0.0, 0.0, -0.12, 0.0])
    observation = {
        "joints/position": low.astype(np.float32), "joints/velocity": np.zeros(7, dtype=np.float32),
        "gripper/position": np.array(robot.gripper.open, dtype=np.float32),
        "tool/pose": np.r_[kinematics.forward(low).position, 0, 1, 0, 0],
    }
    answer = reset.act(observation, Segment(mode="reset"))
    twist = kinematics.jacobian(low) @ reset.action_space.to_si(answer.values)[:7]
    assert twist[2] > 0.05 and np.abs(twist[:2]).max() < 0.02 and answer.values[-1] == -1.0 and not answer.request_end
    observation["joints/position"] = home.astype(np.float32)
    observation["tool/pose"] = np.r_[kinematics.forward(home).position, 0, 1, 0, 0]
    assert reset.act(observation, Segment(mode="reset")).request_end


def test_servo_and_noise() -> None:
    servo = Servo(SPACE, ToolAxes(2), 0.1)
    tilted = np.r_[0.6, 0.0, 0.1, quaternion_from_rpy(0.2, np.pi, 0.0)]
    corrected = servo.action(tilted, tilted[:3], 0.0, -1.0)
    assert abs(corrected[3]) > 0.5 and np.abs(corrected[:3]).max() == 0.0
    assert wrap(3.0, np.pi) == pytest.approx(3.0 - np.pi)
    noise = ActionNoise(0.3, 0.8)
    noise.reset(np.random.default_rng(0))
    samples = np.array([noise.sample(7) for _ in range(5000)])
    assert samples[:, :6].std() == pytest.approx(0.3, rel=0.1) and not samples[:, 6].any()
    assert np.corrcoef(samples[1:, 0], samples[:-1, 0])[0, 1] == pytest.approx(0.8, abs=0.05)
    assert ActionNoise(0.0).sample(7) is None
    with pytest.raises(ValueError, match="sigma"):
        ActionNoise(-1.0)
