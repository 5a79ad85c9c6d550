from types import SimpleNamespace as Message

import numpy as np
import pytest

from apprentice_core.assembler import ObservationAssembler
from apprentice_core.cell import StreamSpec
from apprentice_core.config import CameraConfig
from apprentice_core.images import encode_png
from apprentice_core.spaces import ArraySpec
from apprentice_core.streams import camera_stream

ROBOT = Message(arm_joints=("a", "b"), gripper=Message(joints=("g",)))
JOINTS = StreamSpec("joints", "joint_states", "sensor_msgs/msg/JointState", (ArraySpec("joints/position", (2,)),))
CAMERA = camera_stream("front", CameraConfig(position=(0, 0, 1), look_at=(0, 0, 0), record=(4, 6)))


def header(ns):
    return Message(stamp=Message(sec=ns // 10**9, nanosec=ns % 10**9))


def joints(ns, names=("a", "b"), position=(1.0, 2.0)):
    zeros = np.zeros(len(names))
    return Message(header=header(ns), name=list(names), position=np.array(position), velocity=zeros, effort=zeros)


def image(ns, value):
    return Message(header=header(ns), data=np.frombuffer(encode_png(np.full((4, 6, 3), value, np.uint8)), np.uint8))


@pytest.fixture
def assembler():
    return ObservationAssembler([JOINTS, CAMERA], ROBOT)


def test_exactly_the_named_messages_are_used(assembler):
    for ns, value in ((10, 1), (20, 2), (30, 3)):
        assembler.put("joints", joints(ns, position=(value, -value)))
        assembler.put("camera/front", image(ns, value))
    observation = assembler.observation({"joints": 20, "camera/front": 10})
    assert observation["joints/position"].tolist() == [2, -2] and observation["joints/position"].dtype == np.float32
    assert observation["camera/front"].tolist() == np.full((4, 6, 3), 1).tolist()


def test_newest_takes_the_past_only(assembler):
    assembler.put("joints", joints(10))
    assembler.put("joints", joints(30))
    assert assembler.newest(not_after=29)["joints"].stamp == 10
    assert assembler.newest()["joints"].stamp == 30
    assert assembler.newest()["camera/front"] is None


def test_what_is_awaited_is_named(assembler):
    assembler.put("joints", joints(10))
    assert assembler.behind(10) == ["camera/front"]
    assert assembler.lacks({"joints": 11, "camera/front": 10}) == ["joints", "camera/front"]
    with pytest.raises(KeyError, match="joints at 11"):
        assembler.observation({"joints": 11})


def test_joints_are_matched_by_name(assembler):
    assembler.put("joints", joints(10, names=("head", "b", "a"), position=(9.0, 2.0, 1.0)))
    assert assembler.observation({"joints": 10})["joints/position"].tolist() == [1, 2]


def test_time_never_goes_back_in_a_stream(assembler):
    assembler.put("joints", joints(20))
    assembler.put("joints", joints(10))
    assert assembler.newest()["joints"].stamp == 20 and assembler.lacks({"joints": 10}) == ["joints"]
