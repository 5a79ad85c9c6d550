"""A process of its own for the `control` bench: collects `safety/status` until standard input closes, then prints them as one JSON line."""

import json
import sys
import threading

import rclpy
from rclpy.executors import SingleThreadedExecutor

from apprentice_core.ros_qos import SPINE
from apprentice_interfaces.msg import SafetyStatus


def main():
    rclpy.init()
    node = rclpy.create_node("statuses", namespace=sys.argv[1])
    statuses, closed = [], threading.Event()
    node.create_subscription(SafetyStatus, "safety/status", statuses.append, SPINE)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=lambda: (sys.stdin.read(), closed.set()), daemon=True).start()
    while not closed.is_set():
        executor.spin_once(timeout_sec=0.2)
    print(
        json.dumps(
            [
                {
                    "state": s.state,
                    "median": s.loop_median,
                    "p99": s.loop_p99,
                    "overruns": s.overrun_fraction,
                    "holds": s.holds,
                    "stamp": s.header.stamp.sec,
                }
                for s in statuses
            ]
        ),
        flush=True,
    )
    node.destroy_node()
    rclpy.try_shutdown()


main()
