"""A patched message is what serialising it anew would give (but for the padding between fields, which nobody sets)."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from apprentice_core.ros_template import MessageTemplate, joint_state_template, pose_template, twist_template, wrench_template


def set_joints(m: JointState, runs: list[list[float]]) -> None:
    m.position, m.velocity, m.effort = runs


@pytest.mark.parametrize("names", [["a"], ["right_j0", "right_j1", "x"]])
def test_equals_serialising(names: list[str]) -> None:
    rng, n = np.random.default_rng(0), len(names)
    template = MessageTemplate(JointState(header=Header(frame_id="base"), name=names), [n, n, n], set_joints)
    for stamp in (0, 1_795_265_018_751_832_375):
        p, v, e = (rng.normal(size=n) for _ in range(3))
        message = JointState(header=Header(frame_id="base"), name=names, position=p.tolist(), velocity=v.tolist(), effort=e.tolist())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        filled = template.fill(stamp, p, v, e)
        assert len(filled) == len(serialize_message(message)) and deserialize_message(filled, JointState) == message


@pytest.mark.parametrize(("make", "sizes"), [
    (pose_template, [7]), (twist_template, [6]), (wrench_template, [6]), (lambda f: joint_state_template(f, ["a", "bc"]), [2, 2, 2]),
])
def test_numbers_come_back_in_their_places(make: Callable[[str], MessageTemplate], sizes: list[int]) -> None:
    kinds = {pose_template: PoseStamped, twist_template: TwistStamped, wrench_template: WrenchStamped}
    runs = [np.arange(n) + 10.0 * i for i, n in enumerate(sizes)]
    message = deserialize_message(make("tool").fill(3_000_000_007, *runs), kinds.get(make, JointState))
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == ("tool", 3, 7)
    values = [float(x) for x in re.findall(r"-?\d+\.\d+", str(message))]
    assert values == np.concatenate(runs).tolist()


def test_wrong_size_and_unknown_place_are_refused() -> None:
    template = MessageTemplate(JointState(name=["a", "b"]), [2, 2, 2], set_joints)
    with pytest.raises(ValueError, match="a run of"):
        template.fill(1, np.zeros(3), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="not found once"):
        MessageTemplate(WrenchStamped(), [6], lambda m, runs: None)
