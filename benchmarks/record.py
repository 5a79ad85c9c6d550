"""The recorder under load: 6 cameras 128x128 at 20 Hz, joint states and wrench at 1 kHz; and its writer against plain file writing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import BenchResult, Measure, say, seconds, turns

NAMESPACE = "/bench"
IMAGE_BYTES = 36_864
"""a 128x128 colour frame that PNG shortens by a quarter"""
CPU_LIMIT = 0.5
HERE = Path(__file__).resolve().parent


def _live(folder: Path, duration: float) -> tuple[dict, float, dict[str, int]]:
    """(the load's report, recorder's share of a core, messages in the bag by topic)."""
    import psutil

    environment = os.environ | {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    load = {"namespace": NAMESPACE, "cameras": 6, "camera_rate": 20, "state_rate": 1000, "image_bytes": IMAGE_BYTES, "duration": duration}
    arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}", "-p", f"data:={folder}", "-p", "pace:=realtime"]
    recorder = subprocess.Popen([sys.executable, "-m", "apprentice_runtime.recorder_node", *arguments], env=environment, stdout=sys.stderr)
    try:
        publisher = subprocess.Popen(
            [sys.executable, HERE / "beside" / "ros_load.py", json.dumps(load)], env=environment, stdout=subprocess.PIPE
        )
        watched = psutil.Process(recorder.pid)
        cpu, clock = sum(watched.cpu_times()[:2]), time.monotonic()
        output, _ = publisher.communicate(timeout=duration + 90)
        share = (sum(watched.cpu_times()[:2]) - cpu) / (time.monotonic() - clock)
        if publisher.returncode:
            raise RuntimeError(f"the load ended with {publisher.returncode}")
        report = json.loads(output)
    finally:
        recorder.terminate()
        recorder.wait(timeout=20)
    return report, share, _counts(Path(report["path"]) if report["path"] else folder)


def _counts(bag: Path) -> dict[str, int]:
    from rosbags.rosbag2 import Reader

    with Reader(bag) as reader:
        return {c.topic.removeprefix(f"{NAMESPACE}/"): c.msgcount for c in reader.connections}


def _writer(folder: Path, rounds: int) -> dict[str, float]:
    """Bytes per second of the same messages: through BagWriter, and into a plain file."""
    from apprentice_store.bag_metadata import TopicQos
    from apprentice_store.bag_writer import BagWriter

    rng = np.random.default_rng(0)
    images, small = [rng.bytes(IMAGE_BYTES) for _ in range(300)], rng.bytes(400)
    messages = [("/image", images[i // 17]) if i % 17 == 0 else ("/state", small) for i in range(17 * len(images))]
    size = sum(len(m) for _, m in messages)
    turn = iter(range(1_000_000))

    def bag() -> float:
        writer = BagWriter(folder, f"flat{next(turn)}", {})
        for topic, kind in (("/image", "sensor_msgs/msg/CompressedImage"), ("/state", "sensor_msgs/msg/JointState")):
            writer.add_topic(topic, kind, TopicQos(100))

        def work() -> None:
            for i, (topic, data) in enumerate(messages):
                writer.write(topic, i * 1_000_000, data)
            writer.flush()

        spent = seconds(work)
        writer.abandon("bench")
        return size / spent

    def plain() -> float:
        path = folder / f"plain{next(turn)}"

        def work() -> None:
            with path.open("wb") as file:
                for _, data in messages:
                    file.write(data)

        spent = seconds(work)
        path.unlink()
        return size / spent

    bag()
    return turns({"writer": bag, "plain_file": plain}, rounds)


def run(quick: bool = False) -> BenchResult:
    duration, rounds = (8.0, 5) if quick else (60.0, 15)
    with tempfile.TemporaryDirectory() as scratch:
        say(f"recording {duration:g} s at full load")
        report, share, found = _live(Path(scratch) / "bags", duration)
        published, written = report["counts"], {t: found.get(t, 0) for t in report["counts"]}
        missing = sum(max(0, n - written[t]) for t, n in published.items())
        say("writing flat out")
        rate = _writer(Path(scratch) / "bags", rounds)
    failures = []
    if missing or report["lost"] or not report["ok"]:
        worst = {t: (n, written[t]) for t, n in published.items() if written[t] < n}
        failures.append(f"{missing} of {sum(published.values())} messages are not in the bag {worst} {report['message']}".strip())
    if share > CPU_LIMIT:
        failures.append(f"the recorder took {share:.2f} of a core, to stay under {CPU_LIMIT:g}")
    return BenchResult(
        bench="record",
        ratio=rate["writer"] / rate["plain_file"],
        target=0.4,
        reference="plain file writing of the same serialised bytes, neither synced, same run",
        measures={
            "published": Measure(sum(published.values()), "messages"),
            "lost": Measure(missing, "messages"),
            "recorder_cpu": Measure(round(share, 3), "cores"),
            "load_worst_delay": Measure(round(report["late_s"], 4), "s"),
            "writer": Measure(round(rate["writer"] / 1e6, 1), "MB/s"),
            "plain_file": Measure(round(rate["plain_file"] / 1e6, 1), "MB/s"),
        },
        failures=tuple(failures),
    )
