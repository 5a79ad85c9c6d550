"""The VR controller over DDS: an emulated bridge publishes poses and buttons, and the arm of a real cell follows the hand."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Joy

from apprentice_core.cell import EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.ros_qos import SPINE
from apprentice_core.ros_time import BILLION, to_time
from apprentice_interfaces.msg import Action, SafetyEvent
from apprentice_store.bag_reader import read_episode

pytestmark = pytest.mark.timeout(240)
PERIOD = 0.1


class Bridge:
    """What an OpenVR bridge publishes, 50 times a second and with ROS's default QoS; and what the test hears of the cell."""

    def __init__(self, processes: Any):
        self._wait_until = processes.wait_until
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=processes.domain)
        self.node = rclpy.create_node("openvr_bridge", namespace="/cell/vr", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.commands: list[Action] = []
        self.events: list[SafetyEvent] = []
        self.position, self.speed, self.moves_until = np.array([0.2, 1.1, -0.3]), np.zeros(3), 0.0
        self.clutch = self.release = False
        self._poses = self.node.create_publisher(PoseStamped, "pose", QoSProfile(depth=10))
        self._joys = self.node.create_publisher(Joy, "joy", QoSProfile(depth=10))
        self.node.create_subscription(Action, "/cell/action", self.commands.append, SPINE)
        self.node.create_subscription(SafetyEvent, "/cell/safety/event", self.events.append, SPINE)
        self.tool = np.zeros(3)
        self.node.create_subscription(PoseStamped, "/cell/tool/pose", self._see, QoSProfile(depth=10))
        self._at = time.monotonic()
        self.node.create_timer(0.02, self._publish)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self.executor.spin_once(timeout_sec=0.05)

    def _publish(self) -> None:
        now = time.monotonic()
        self.position = self.position + self.speed * max(0.0, min(now, self.moves_until) - self._at)
        self._at = now
        pose, joy = PoseStamped(), Joy(axes=[0.0, 0.0, 0.0], buttons=[0, 0, 0, int(self.release), int(self.clutch)])
        pose.header.stamp = joy.header.stamp = to_time(time.time_ns())
        pose.header.frame_id = "vr_tracking"
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = self.position.tolist()
        pose.pose.orientation.w = 1.0
        self._joys.publish(joy)
        self._poses.publish(pose)

    def _see(self, pose: PoseStamped) -> None:
        p = pose.pose.position
        self.tool = np.array([p.x, p.y, p.z])

    def move(self, line: tuple[float, float, float], seconds: float) -> None:
        """Moves the hand by `line` in OpenVR's axes (right, up, towards the user)."""
        self.speed, self.moves_until = np.array(line) / seconds, time.monotonic() + seconds
        time.sleep(seconds)
        self.rest()

    def rest(self, ticks: int = 5) -> None:
        """Until the arm has been commanded so many times more, and the poses have had time to arrive."""
        target = len(self.commands) + ticks
        self._wait_until(lambda: len(self.commands) >= target, 20.0, "commands")
        time.sleep(0.1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def bridge(processes: Any) -> Iterator[Bridge]:
    b = Bridge(processes)
    yield b
    b.close()


def test_the_arm_follows_a_hand_over_dds_with_clutch_take_over_fault_and_hand_back(processes: Any, ros: Any, bridge: Bridge) -> None:
    processes.start_cell(cameras=(), scripts=("random_watcher",), reward_node=None, episode_node={"reward_sources": "['']"})
    # The limits of age are wide, because a busy test machine may stall a process for long.
    processes.start(
        "teleop_node", device="vr", vr_axes="openvr", vr_yaw=math.pi / 2, vr_max_age=1.0, vr_joy_max_age=5.0,
    )
    cell = ros()
    ended: list[EpisodeRef] = []
    request = EpisodeRequest("lift_demo", "random_watcher", ResetRequest("none", seed=1), steps=5000)
    running = threading.Thread(target=lambda: ended.append(cell.run(request)))
    running.start()

    def moved(first: int) -> np.ndarray:
        """m along x y z that the commands to the arm since number `first` ask for."""
        since = bridge.commands[first:]
        assert since and {c.source for c in since} == {"teleop"}
        return np.sum([cell.spec.action_space.to_si(np.array(c.values))[:3] for c in since], axis=0) * PERIOD

    def drives(who: str) -> None:
        processes.wait_until(lambda: bridge.commands and bridge.commands[-1].source == who, 30.0, f"{who} drives")

    drives("random_watcher")
    bridge.move((0.1, 0.0, 0.0), 0.3)
    assert bridge.commands[-1].source == "random_watcher", "a hand that moves with an open clutch takes nothing over"

    bridge.clutch = True
    drives("teleop")
    bridge.rest()
    # Towards the middle of the workspace: random_watcher may have left the arm at its very edge, beyond which nobody moves it.
    side, up = (1.0 if at < middle else -1.0 for at, middle in zip(bridge.tool[1:], (0.0, 0.085), strict=True))
    way_of_arm = np.array([0.0, 0.004 * side, 0.012 * up])
    first = len(bridge.commands)
    bridge.move((0.0, 0.012 * up, -0.004 * side), 1.0)
    np.testing.assert_allclose(moved(first), way_of_arm, atol=0.001)
    way = [c.header.stamp.sec * BILLION + c.header.stamp.nanosec for c in (bridge.commands[first], bridge.commands[-1])]

    bridge.clutch = False
    bridge.rest()
    first = len(bridge.commands)
    bridge.move((0.3, -0.2, 0.1), 0.5)
    bridge.clutch = True
    bridge.rest()
    assert not moved(first).any(), "the hand went back with an open clutch"

    first = len(bridge.commands)
    bridge.move((0.0, -0.012 * up, 0.004 * side), 1.0)
    np.testing.assert_allclose(moved(first), -way_of_arm, atol=0.001)

    bridge.position = bridge.position + 0.7
    fault = processes.wait_until(lambda: bridge.commands[-1].fault, 10.0, "the fault on the command")
    assert fault.startswith("VR controller: the pose jumps")
    first = len(bridge.commands)
    bridge.move((0.0, 0.02, 0.0), 0.3)
    assert not moved(first).any()

    bridge.release = True
    drives("random_watcher")
    bridge.rest()
    assert bridge.commands[-1].source == "random_watcher", "the clutch is still held: that takes nothing over again"
    cell.end_episode()
    running.join(30.0)
    assert ended and ended[0].lost == 0
    episode = read_episode(Path(ended[0].path))
    start, end = (episode.observations["tool/pose"][np.flatnonzero(episode.stamps["tick"] == at)[0], :3] for at in way)
    np.testing.assert_allclose(end - start, way_of_arm, atol=0.002)
    changes = [actor for t, actor in enumerate(episode.actors) if t == 0 or actor != episode.actors[t - 1]]
    assert changes == ["random_watcher", "teleop", "random_watcher"] and set(episode.outcomes) == {"applied"}
    assert any(e.code == "source_fault" and "pose jumps" in e.message for e in bridge.events)
    assert processes.stop("teleop_node") == 0


def test_one_button_cannot_be_clutch_and_release(processes: Any) -> None:
    node = processes.start("teleop_node", device="vr", vr_release_button=4)
    assert node.wait(30.0) == 2 and "the same button" in node.text and "Traceback" not in node.text
