"""Two processes that look for each other over DDS: `answer TOKEN` echoes, `ask TOKEN` measures and prints one JSON line."""

from __future__ import annotations

import json
import signal
import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from apprentice_core.ros_qos import SPINE

PATIENCE = 10.0
"""s until the asker gives up (ours)"""


def main(role: str, token: str) -> int:
    """0, or 1 when nobody answered in time."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"{token}_{role}")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ours, theirs = ("ping", "pong") if role == "ask" else ("pong", "ping")
    publisher = node.create_publisher(String, f"{token}/{ours}", SPINE)
    heard: list[float] = []
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

    def on_message(message: String) -> None:
        heard.append(time.monotonic())
        if role == "answer":
            publisher.publish(message)

    node.create_subscription(String, f"{token}/{theirs}", on_message, SPINE)
    began, matched, sent = time.monotonic(), 0.0, 0.0
    while not stopped and not (role == "ask" and heard) and time.monotonic() - began < PATIENCE:
        executor.spin_once(timeout_sec=0.02)
        if role == "ask" and not sent and publisher.get_subscription_count() and node.count_publishers(f"{token}/{theirs}"):
            matched, sent = time.monotonic() - began, time.monotonic()
            publisher.publish(String(data=token))
    if role == "ask" and heard:
        print(json.dumps({"match": matched, "trip": heard[0] - sent}), flush=True)
    node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()
    return 0 if role == "answer" or heard else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
