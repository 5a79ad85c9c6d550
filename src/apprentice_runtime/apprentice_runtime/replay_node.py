"""Publishes a bag again: the recorded bytes, with their own stamps, at their relative timing."""

from __future__ import annotations

import time
from pathlib import Path

from rclpy.duration import Duration
from rclpy.publisher import Publisher

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_polled import message_class
from apprentice_core.ros_qos import SPINE, STATIC
from apprentice_runtime.replay import BagReplay, ReplaySchedule

PARAMETERS = (
    Param("bag", "", "bag folder, or one .mcap file"),
    Param("rate", 1.0, "speed: 2.0 is twice as fast", bounds=(0.01, 100.0)),
    Param("loop", False, "start again at the end"),
    Param("start", 0.0, "s after the first message at which to start", bounds=(0.0, 1e9)),
    Param("end", 0.0, "s after the first message at which to end; 0: the bag's end", bounds=(0.0, 1e9)),
    Param("topics", [""], "only these topics, absolute names; empty: all but those that nodes act on"),
    Param("commands", False, "also publish what nodes act on: tick, action, action/*, estop/request"),
    Param("prefix", "", "put before every topic name, e.g. /replay"),
    Param("wait_for", "", "topic that must have a subscriber before the first message goes out"),
    Param("list", False, "print the topics and end"),
)


class ReplayNode(ApprenticeNode):
    """Ends by itself at the end of the bag; BagError (one line, exit 2) on a torn or foreign one."""

    def __init__(self) -> None:
        super().__init__("replay_node", PARAMETERS)
        s = self.settings
        if not s["bag"]:
            raise ApprenticeError("replay_node: parameter 'bag' is empty: name a bag folder")
        end = s["end"] or float("inf")
        if end <= s["start"]:
            raise ApprenticeError(f"replay_node: parameter 'end': {end:g} is not after start {s['start']:g}")
        replay = BagReplay(Path(s["bag"]), s["start"], end, [t for t in s["topics"] if t], s["commands"])
        if s["list"]:
            for topic in sorted(replay.topics.values(), key=lambda t: t.name):
                print(f"{topic.messages:8d}  {topic.msgtype:45s}  {topic.name}{'  (latched)' if topic.latched else ''}")
            for name in replay.skipped:
                print(f"          left out (commands:=true publishes it)        {name}")
            self.request_stop()
            return
        self._schedule = ReplaySchedule(replay, s["rate"], s["loop"])
        self._topic_publishers: dict[str, Publisher] = {
            t.name: self.create_publisher(message_class(t.msgtype), s["prefix"] + t.name, STATIC if t.latched else SPINE)
            for t in replay.topics.values()
        }
        if s["wait_for"] and s["wait_for"] not in self._topic_publishers:
            raise ApprenticeError(f"replay_node: parameter 'wait_for': {s['wait_for']!r} is not a topic that is replayed")
        self._published = 0
        self.steady_timer(0.002, self._step)
        self.steady_timer(1.0, self._report)
        self.get_logger().info(f"{replay.path}: {len(replay.topics)} topics, {replay.duration:.1f} s at {s['rate']:g}x")

    def _step(self) -> None:
        wait_for = self.settings["wait_for"]
        if wait_for and self._published == 0 and self._topic_publishers[wait_for].get_subscription_count() == 0:
            return
        for message in self._schedule.due(time.monotonic()):
            self._topic_publishers[message.topic].publish(message.cdr)
            self._published += 1
        if self._schedule.done:
            for publisher in self._topic_publishers.values():
                publisher.wait_for_all_acked(Duration(seconds=1))
            self.get_logger().info(f"end of the bag: {self._published} messages")
            self.request_stop()

    def _report(self) -> None:
        self.diagnose("replay", 0, "publishing", {"published": self._published, "laps": self._schedule.laps})


def main() -> None:
    run_node(ReplayNode)


if __name__ == "__main__":
    main()
