"""A process of its own for the `record` bench: publishes one recorded episode of cameras, joint states and wrench at their rates.

Arguments (JSON): namespace, cameras, camera_rate, state_rate, image_bytes, duration. Prints one JSON line: what was published, by topic
(first and last stamp, period, count), the stamps of the episode's start and end, and what the recorder answered.
"""

import array
import json
import sys
import time

import numpy as np
import rclpy
from geometry_msgs.msg import WrenchStamped
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String

from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_to_json
from apprentice_core.episode import new_episode_id
from apprentice_core.ros_qos import LATCHED, SPINE, sensor_publisher
from apprentice_interfaces.msg import EpisodeCommitted, EpisodeEvent, ObservationPart, Step
from apprentice_store.testing import ROBOT, make_spec

MS = 1_000_000


def stamped(message, ns):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(ns, 10**9)
    return message


def part(stream, topic, ns):
    p = ObservationPart(stream=stream, topic=topic)
    p.stamp.sec, p.stamp.nanosec = divmod(ns, 10**9)
    return p


def main():
    load = json.loads(sys.argv[1])
    rclpy.init()
    node = rclpy.create_node("load", namespace=load["namespace"])
    rng = np.random.default_rng(0)
    cameras = [f"camera/c{i}/image/compressed" for i in range(load["cameras"])]
    images = [array.array("B", rng.bytes(load["image_bytes"])) for _ in range(8)]
    camera_pubs = [node.create_publisher(CompressedImage, t, sensor_publisher(load["camera_rate"])) for t in cameras]
    joint_pub = node.create_publisher(JointState, "joint_states", sensor_publisher(load["state_rate"]))
    wrench_pub = node.create_publisher(WrenchStamped, "wrench", sensor_publisher(load["state_rate"]))
    event_pub, step_pub = node.create_publisher(EpisodeEvent, "episode/event", SPINE), node.create_publisher(Step, "step", SPINE)
    spec_pub = node.create_publisher(String, CELL_SPEC_TOPIC, LATCHED)
    spec_pub.publish(String(data=cell_spec_to_json(make_spec(), ROBOT)))
    answers = []
    node.create_subscription(EpisodeCommitted, "episode/committed", answers.append, SPINE)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    publishers = [*camera_pubs, joint_pub, wrench_pub, event_pub, step_pub, spec_pub]
    deadline = time.monotonic() + 30
    while any(p.get_subscription_count() == 0 for p in publishers):
        if time.monotonic() > deadline:
            sys.exit("no recorder has subscribed to everything within 30 s")
        executor.spin_once(timeout_sec=0.05)

    joint = JointState(name=list(ROBOT.arm_joints))
    joint.position = joint.velocity = joint.effort = array.array("d", [0.1, 0.2, 0.3])
    wrench, picture = WrenchStamped(), [CompressedImage(format="rgb8; png compressed bgr8", data=d) for d in images]
    episode_id = new_episode_id()
    state_every, camera_every, step_every = 1000 // load["state_rate"], 1000 // load["camera_rate"], 100
    start = time.time_ns() // MS * MS
    total = round(load["duration"] * 1000)
    event = EpisodeEvent(
        event="start", episode_id=episode_id, kind="episode", task="load", source="load", metadata='{"record": true}', seed=-1
    )
    event.stamp.sec, event.stamp.nanosec = divmod(start, 10**9)
    event_pub.publish(event)
    counts = dict.fromkeys([*cameras, "joint_states", "wrench", "step"], 0)
    steps, late = 0, 0.0
    begin = time.monotonic()
    for i in range(total):
        wait = begin + i * 1e-3 - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        late = max(late, -wait)
        ns = start + i * MS
        if i % state_every == 0:
            joint_pub.publish(stamped(joint, ns))
            wrench_pub.publish(stamped(wrench, ns))
            counts["joint_states"] += 1
            counts["wrench"] += 1
        for c, (topic, pub) in enumerate(zip(cameras, camera_pubs, strict=True)):
            # The cameras are not triggered together.
            if (i - c * camera_every // len(cameras)) % camera_every == 0:
                pub.publish(stamped(picture[(i + c) % len(picture)], ns))
                counts[topic] += 1
        if i % step_every == 0:
            step = Step(
                episode_id=episode_id, step_id=steps + 1, step=steps, actor="load", discount=1.0, parts=[part("joints", "joint_states", ns)]
            )
            step.stamp.sec, step.stamp.nanosec = divmod(ns, 10**9)
            step_pub.publish(step)
            counts["step"] += 1
            steps += 1
    end = start + (total - 1) * MS
    event.event, event.steps, event.truncated, event.reason, event.success = "end", steps, True, "horizon", -1
    event.parts = [part("joints", "joint_states", end - (total - 1) % state_every * MS)]
    event.stamp.sec, event.stamp.nanosec = divmod(end, 10**9)
    event_pub.publish(event)
    deadline = time.monotonic() + 30
    while not answers and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    committed = answers[0] if answers else EpisodeCommitted(message="the recorder did not answer within 30 s")
    print(
        json.dumps(
            {
                "counts": counts,
                "late_s": late,
                "ok": committed.ok,
                "path": committed.path,
                "message": committed.message,
                "lost": committed.lost,
            }
        ),
        flush=True,
    )
    node.destroy_node()
    rclpy.try_shutdown()


main()
