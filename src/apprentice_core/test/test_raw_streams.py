"""Observations straight out of serialised messages have the bits that decoded messages give."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from apprentice_core.config import load_robot
from apprentice_core.ros_template import pose_template, twist_template, wrench_template
from apprentice_core.streams import extractor, proprio_streams, raw_extractor

ROBOT = load_robot("sawyer")
STREAMS = {s.name: s for s in proprio_streams(ROBOT)}
JOINTS = {"joints": ROBOT.arm_joints, "gripper": ROBOT.gripper.joints}


def joint_state(names, frame="base", size=None, rng=None) -> JointState:
    rng = rng or np.random.default_rng(0)
    n = len(names) if size is None else size
    return JointState(
        header=Header(frame_id=frame), name=list(names), position=rng.normal(size=n).tolist(), velocity=rng.normal(size=n).tolist(),
        effort=rng.normal(size=n).tolist(),
    )


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype == np.float32 and np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("frame", ["", "b", "base", "a_frame_of_some_length"])
def test_every_small_stream_gives_the_same_bits(frame):
    rng = np.random.default_rng(len(frame))
    for name, kind, template, size in (
        ("tool/pose", PoseStamped, pose_template, 7), ("tool/twist", TwistStamped, twist_template, 6),
        ("wrist/wrench", WrenchStamped, wrench_template, 6),
    ):
        raw = template(frame).fill(1_700_000_000_000_000_001, rng.normal(size=size))
        assert equal(raw_extractor(STREAMS[name], ROBOT)(raw), extractor(STREAMS[name], ROBOT)(deserialize_message(raw, kind)))
    for name, names in JOINTS.items():
        fast = raw_extractor(STREAMS[name], ROBOT)
        for other in ("", frame):
            message = joint_state(names, other, rng=rng)
            assert equal(fast(serialize_message(message)), extractor(STREAMS[name], ROBOT)(message))


@pytest.mark.parametrize("name", ["joints", "gripper"])
def test_what_does_not_fit_is_left_to_decoding(name):
    names = JOINTS[name]
    fast = raw_extractor(STREAMS[name], ROBOT)
    assert fast(serialize_message(joint_state(names))) is not None
    for odd in (joint_state(names[::-1]), joint_state([*names, "more"]), joint_state(names[:-1]), joint_state(names, size=0)):
        assert fast(serialize_message(odd)) is None
    no_effort = joint_state(names)
    no_effort.effort = []
    assert fast(serialize_message(no_effort)) is None
    whole = serialize_message(joint_state(names))
    for cut in (0, 4, 20, len(whole) - 8):
        assert fast(whole[:cut]) is None
    assert fast(whole) is not None


def test_images_are_decoded():
    from apprentice_core.cell import StreamSpec

    assert raw_extractor(StreamSpec("camera/front", "x", "sensor_msgs/msg/CompressedImage", ()), ROBOT) is None
