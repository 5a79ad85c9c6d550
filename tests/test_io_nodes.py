"""Camera, force, teleoperation and replay nodes as processes."""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header, String

from apprentice_core.cell_factory import choose_cameras, make_cell_spec
from apprentice_core.cell_spec import cell_spec_to_json
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.images import decode_png, encode_png, to_record_size
from apprentice_core.ros_qos import LATCHED, SPINE, sensor_publisher, sensor_subscriber
from apprentice_core.ros_time import to_time
from apprentice_core.urdf import hand
from apprentice_core.wrench import GRAVITY
from apprentice_interfaces.msg import Action, SafetyEvent, Tick


class Peer:
    """The other end of one node's topics."""

    def __init__(self, domain: int):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("test_peer", namespace="/cell", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def listen(self, kind: Any, topic: str, qos: Any) -> list[Any]:
        got: list[Any] = []
        self.node.create_subscription(kind, topic, got.append, qos)
        return got

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            self.executor.spin_once(timeout_sec=0.02)
        raise AssertionError(f"{what}: not within {timeout:g} s")

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def peer(processes: Any) -> Iterator[Peer]:
    p = Peer(processes.domain)
    yield p
    p.close()


def test_camera_node_crops_and_resizes_once(processes: Any, peer: Peer) -> None:
    frames = processes.folder / "frames"
    frames.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    (frames / "0.png").write_bytes(encode_png(image))
    images = peer.listen(CompressedImage, "camera/wrist_left/image/compressed", sensor_subscriber(False))
    infos = peer.listen(CameraInfo, "camera/wrist_left/camera_info", LATCHED)
    processes.start("camera_node", camera="wrist_left", source=frames, rate=50.0)
    peer.until(lambda: len(images) > 3 and infos, "images and calibration")
    np.testing.assert_array_equal(decode_png(np.array(images[-1].data)), to_record_size(image, (96, 128)))
    assert images[-1].format == "rgb8; png compressed bgr8" and images[-1].header.frame_id == "wrist_left_optical"
    assert (infos[0].height, infos[0].width) == (96, 128) and infos[0].k[0] > 0
    assert processes.stop("camera_node") == 0


@pytest.mark.parametrize(("parameters", "says"), [
    ({"camera": "wrist_left", "source": "/dev/video77"}, "/dev/video77 does not exist"),
    ({"camera": "nose", "source": "/dev/video0"}, "'nose' is not in cell"),
])
def test_camera_node_says_what_is_absent(processes: Any, parameters: dict[str, Any], says: str) -> None:
    node = processes.start("camera_node", **parameters)
    assert node.wait() == 2
    assert says in node.text and "Traceback" not in node.text


def test_force_node_takes_the_payload_out_and_tares_by_stamp(processes: Any, peer: Peer) -> None:
    carried = hand(load_robot("sawyer"))
    wrenches = peer.listen(WrenchStamped, "wrench", sensor_subscriber(True))
    events = peer.listen(SafetyEvent, "safety/event", SPINE)
    raw_out = peer.node.create_publisher(WrenchStamped, "wrench_raw", sensor_publisher(100))
    pose_out = peer.node.create_publisher(PoseStamped, "tool/pose", sensor_publisher(100))
    tared = peer.node.create_publisher(Header, "tared", SPINE)
    processes.start("force_node")
    peer.until(lambda: all(p.get_subscription_count() for p in (raw_out, pose_out, tared)), "force_node")
    peer.until(lambda: peer.node.count_publishers("/cell/wrench"), "wrench")
    start = time.time_ns()

    def send(k: int, push: float) -> int:
        stamp = start + k * 10_000_000
        raw, pose = WrenchStamped(), PoseStamped()
        raw.header.stamp = pose.header.stamp = to_time(stamp)
        pose.pose.orientation.x, pose.pose.orientation.w = 1.0, 0.0
        sensor = np.diag([1.0, -1.0, -1.0]) @ carried.rotation
        raw.wrench.force.x, raw.wrench.force.y, raw.wrench.force.z = (sensor.T @ [push, 0, -carried.mass * GRAVITY]).tolist()
        raw_out.publish(raw)
        pose_out.publish(pose)
        return stamp

    def norm() -> float:
        f = wrenches[-1].wrench.force
        return float(np.linalg.norm([f.x, f.y, f.z]))

    last = [send(k, 3.0) for k in range(30)][-1]
    peer.until(lambda: len(wrenches) == 30, "one wrench for each raw sample")
    assert norm() == pytest.approx(3.0, abs=0.05), "the gripper's weight is gone, the push is there"
    tared.publish(Header(stamp=to_time(last)))
    peer.until(lambda: "tare: zeroed" in processes.nodes["force_node"].text, "tare")
    for k in range(30, 60):
        send(k, 3.0)
    peer.until(lambda: len(wrenches) == 60, "wrenches after the tare")
    assert norm() < 0.05
    assert not events
    for k in range(60, 70):
        send(k, 1000.0)
    peer.until(lambda: len(wrenches) == 70 and events, "the sensor at its end")
    assert [(e.code, e.outcome) for e in events] == [("sensor_saturated", "hold")], "told once, while it lasts"


def test_teleop_takes_over_from_a_real_terminal_and_hands_back(processes: Any, peer: Peer) -> None:
    master, slave = pty.openpty()
    cell, task, robot = load_cell("sawyer_lift"), load_task("lift_demo"), load_robot("sawyer")
    spec = make_cell_spec(robot, cell, task, choose_cameras(cell, task, "agent"))
    peer.node.create_publisher(String, "cell_spec", LATCHED).publish(String(data=cell_spec_to_json(spec, robot)))
    answers = peer.listen(Action, "action/teleop", SPINE)
    ticks = peer.node.create_publisher(Tick, "tick", SPINE)
    node = processes.start("teleop_node", device="keyboard", path=os.ttyname(slave))
    peer.until(ticks.get_subscription_count, "teleop_node")
    steps = iter(range(1, 10_000))

    def answer() -> Action:
        step = next(steps)
        ticks.publish(Tick(step_id=step))
        return peer.until(lambda: next((a for a in answers if a.step_id == step), None), "answer", 2.0)

    def first() -> bool:
        ticks.publish(Tick(step_id=next(steps)))
        peer.executor.spin_once(timeout_sec=0.05)
        return bool(answers)

    peer.until(first, "the cell's spec at the node")
    assert not answer().engaged and not any(answers[-1].values)

    def press(key: bytes) -> Action:
        os.write(master, key)
        return answer()

    taken = peer.until(lambda: (a := press(b"w")).engaged and a, "take-over")
    assert taken.values[0] > 0 and taken.action_space_hash == spec.action_space.hash
    peer.until(lambda: press(b" ").values[6] == 1.0, "gripper")
    peer.until(lambda: not press(b"h").engaged, "hand-back")
    os.close(slave)
    os.close(master)
    assert node.wait() == 1 and "is gone" in node.text, "a lost device ends the node, and says so"


def _bag(folder: Path) -> list[bytes]:
    from apprentice_store.bag_writer import BagWriter

    payload = [bytes(serialize_message(String(data=f"message {k}"))) for k in range(20)]
    writer = BagWriter(folder.parent, folder.name)
    for topic in ("/cell/notes", "/cell/action"):
        writer.add_topic(topic, "std_msgs/msg/String")
        for k, cdr in enumerate(payload):
            writer.write(topic, 1_000_000_000 + k * 10_000_000, cdr)
    writer.commit()
    return payload


def test_replay_gives_the_recorded_bytes_and_keeps_commands_to_itself(processes: Any, peer: Peer) -> None:
    payload = _bag(processes.folder / "bag")
    got: list[bytes] = []
    peer.node.create_subscription(String, "/cell/notes", got.append, SPINE, raw=True)
    node = processes.start("replay_node", bag=processes.folder / "bag", wait_for="/cell/notes")
    peer.until(lambda: len(got) == len(payload), "all messages")
    # DDS pads a serialised message to four bytes; what was recorded is all there.
    assert [bytes(m)[: len(p)] for m, p in zip(got, payload, strict=True)] == payload
    assert node.wait() == 0 and "/cell/action" not in dict(peer.node.get_topic_names_and_types())
    listing = processes.start("replay_node", "list_node", bag=processes.folder / "bag", list=True)
    assert listing.wait() == 0 and "20  std_msgs/msg/String" in listing.text and "left out" in listing.text


def test_replay_of_a_torn_bag_is_one_line(processes: Any) -> None:
    _bag(processes.folder / "bag")
    file = next((processes.folder / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-60])
    node = processes.start("replay_node", bag=processes.folder / "bag")
    assert node.wait() == 2 and "store repair" in node.text and "Traceback" not in node.text
