"""The reset of insertion: out of a socket that may hold the plug, to the start of the episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import GripCheck, ToolReset
from apprentice_core.cell import OPERATOR_NEEDED, ActionSource
from apprentice_core.config import load_robot
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import matrix_from_rotation_vector, matrix_to_quaternion

SAWYER = load_robot("sawyer")
KINEMATICS = Kinematics(SAWYER)
HOME = KINEMATICS.forward(np.array(SAWYER.home))
START = [0.62, -0.03, 0.12]
CONTEXT = EpisodeContext("01J0000000000000000000000A", "insert_usb", "reset", metadata={"start": {"tool": START}})


class Socketed:
    """A tool that goes as it is told, unless a socket holds it: then it rises only after `wiggles` sideways motions."""

    def __init__(self, position: list[float], wiggles: int = 0, tilt: float = 0.0):
        self.position, self.wiggles = np.array(position), wiggles
        self.rotation = matrix_from_rotation_vector(np.array([tilt, 0.0, 0.0])) @ HOME.rotation
        self.speed = np.zeros(7)
        self.track = [self.position.copy()]

    def observation(self) -> dict[str, np.ndarray]:
        pose = np.append(self.position, matrix_to_quaternion(self.rotation)).astype(np.float32)
        return {"tool/pose": pose, "joints/velocity": self.speed.astype(np.float32), "gripper/position": np.float32([0.006, 0.006])}

    def run(self, reset: ToolReset, limit: int = 200) -> int:
        for step in range(limit):
            answer = reset.act(self.observation(), Segment(mode="reset"))
            assert answer.values[6] == 0.0, "the gripper stays as it is"
            if answer.request_end:
                return step
            twist = reset.action_space.to_si(answer.values)[:6] * 0.1
            if self.wiggles > 0:
                self.wiggles -= bool(np.abs(twist[:2]).max() > 1e-4)
                twist[:] = 0.0
            self.position = self.position + twist[:3]
            self.rotation = matrix_from_rotation_vector(twist[3:]) @ self.rotation
            self.track.append(self.position.copy())
        raise AssertionError("it never asked to end")


def make() -> ToolReset:
    reset = ToolReset(SAWYER, KINEMATICS)
    reset.reset(CONTEXT)
    return reset


@pytest.mark.parametrize("wiggles", [0, 7])
def test_it_withdraws_straight_up_and_then_goes_to_the_start(wiggles: int) -> None:
    tool, reset = Socketed([0.6, 0.02, 0.05], wiggles, tilt=0.05), make()
    assert isinstance(reset, ActionSource)
    steps = tool.run(reset)
    assert not reset.failure and steps < 60
    np.testing.assert_allclose(tool.position, START, atol=5e-4)
    below = np.array([p for p in tool.track if p[2] < START[2] - 0.01])
    assert np.abs(below[:, :2] - (0.6, 0.02)).max() < (1.1e-3 if wiggles else 1e-9), "sideways above the socket only"
    assert reset.at_start(tool.observation()) and np.abs(tool.rotation - HOME.rotation).max() < 0.03


def test_from_above_it_goes_over_the_start_first() -> None:
    tool = Socketed([0.5, 0.1, 0.15])
    tool.run(make())
    low = np.array([p for p in tool.track if p[2] < 0.145])
    assert np.abs(low[:, :2] - START[:2]).max() < 0.004


def test_a_jammed_plug_is_given_up_with_a_reason_for_the_operator() -> None:
    tool, reset = Socketed([0.6, 0.02, 0.05], wiggles=10_000), make()
    assert tool.run(reset) == 60
    assert reset.failure.startswith(OPERATOR_NEEDED) and "jammed" in reset.failure and "70 mm" in reset.failure
    reset.reset(CONTEXT)
    assert not reset.failure


def test_it_waits_until_the_arm_is_still() -> None:
    tool, reset = Socketed(START), make()
    tool.speed[2] = 0.1
    assert not reset.act(tool.observation(), Segment()).request_end
    tool.speed[2] = 0.0
    assert reset.act(tool.observation(), Segment()).request_end


@pytest.mark.parametrize("start", [{"tool": [1, 2]}, {"tool": ["a", 0, 0]}, [1], {"tool": [float("nan"), 0, 0]}])
def test_a_foreign_start_moves_nothing(start: object) -> None:
    reset = ToolReset(SAWYER, KINEMATICS)
    reset.reset(replace(CONTEXT, metadata={"start": start}))
    answer = reset.act(Socketed(START).observation(), Segment())
    assert answer.request_end and "start.tool" in answer.fault and not answer.values.any()


def test_without_a_start_it_goes_home() -> None:
    reset = ToolReset(SAWYER, KINEMATICS)
    reset.reset(replace(CONTEXT, metadata={}))
    tool = Socketed([0.6, 0.0, 0.1])
    tool.run(reset)
    np.testing.assert_allclose(tool.position, HOME.position, atol=5e-4)


def held(opening: float, offset: float = 0.0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    tool = np.append([0.6, 0.0, 0.1 + 0.3 * opening], matrix_to_quaternion(HOME.rotation)).astype(np.float32)
    plug = np.append(tool[:3] - [0.0, 0.0, 0.02 + offset], [0, 0, 0, 1]).astype(np.float32)
    return {"gripper/position": np.full(2, opening, np.float32), "tool/pose": tool}, {"object/plug/pose": plug}


def test_a_lost_or_slipped_plug_is_seen_by_the_gripper_and_by_its_place_in_the_hand() -> None:
    grip = GripCheck(SAWYER)
    assert grip.fault(*held(0.006)) == "", "nothing is known yet"
    grip.remember(*held(0.006))
    assert grip.fault(*held(0.0063)) == ""
    assert "lost" in grip.fault(*held(0.0001)) and grip.fault(*held(0.0001)).startswith(OPERATOR_NEEDED)
    assert "slipped" in grip.fault(*held(0.009))
    assert "4.0 mm in the hand" in grip.fault(*held(0.006, 0.004))
    assert grip.fault(held(0.006, 0.004)[0]) == "", "without privileged poses the gripper alone is asked"
