"""Records every episode of a cell: listens always, cuts by stamp, commits, acknowledges (`EpisodeRecorder` decides, this node listens)."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from apprentice_core.cdr import header_stamp
from apprentice_core.paths import data_dir
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import SPINE
from apprentice_interfaces.msg import EpisodeCommitted
from apprentice_runtime.ros_recorder_taps import RecorderTaps
from apprentice_store.episode_recorder import Committed, EpisodeRecorder
from apprentice_store.store import Store

PARAMETERS = (
    Param("data", "", "data folder; empty: $APPRENTICE_DATA, or bags/ in the current folder"),
    Param("include", [""], "further topics (absolute, shell globs) besides those of the cell's namespace, /tf and /tf_static"),
    Param("exclude", ["*/image_raw", "*/parameter_events"], "topics (absolute, shell globs) that are not recorded"),
    Param("poll_period", 0.02, "waiting messages are taken so often, s", bounds=(0.001, 0.2)),
    Param("min_free_mib", 500, "MiB free on the disk below which no episode is begun", bounds=(1, 10_000_000)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)
JOINTS = "sensor_msgs/msg/JointState"
DISCOVERY = 0.25
"""new topics are looked for so often, s (ours)"""


class RecorderNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("recorder_node", PARAMETERS)
        s = self.settings
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
        namespace = self.get_namespace()
        self._store = Store(Path(s["data"]) if s["data"] else data_dir())
        self._recorder = EpisodeRecorder(self._store, namespace, min_free=s["min_free_mib"] << 20)
        inside = f"{namespace.rstrip('/')}/*"
        include = [p for p in s["include"] if p] + [inside, "/tf", "/tf_static"]
        self._taps = RecorderTaps(self, include, [p for p in s["exclude"] if p], self._recorder.add_topic)
        self._lockstep, self._arm_time = s["pace"] == "lockstep", 0
        self._committed = self._lost = self._failed = 0
        self._publisher = self.create_publisher(EpisodeCommitted, "episode/committed", SPINE)
        self._taps.discover()
        self.steady_timer(DISCOVERY, self._taps.discover)
        self.steady_timer(s["poll_period"], self._poll)
        self.steady_timer(1.0, self._report)

    def _poll(self) -> None:
        now = self.get_clock().now().nanoseconds
        for topic, kind, raw in self._taps.take():
            if kind == JOINTS and self._lockstep:
                self._arm_time = header_stamp(raw)
            # What has no stamp of its own (tf) came at this node time: in lockstep that is the arm's, which stands still in between.
            self._recorder.offer(topic, kind, self._arm_time or now, raw)
        for done in self._recorder.poll():
            self._acknowledge(done)

    def _acknowledge(self, done: Committed) -> None:
        self._committed += done.ok
        self._failed += not done.ok
        self._lost += done.lost
        if done.message:
            self.get_logger().error(f"episode {done.episode_id}: {done.message}")
        self._publisher.publish(EpisodeCommitted(
            episode_id=done.episode_id, ok=done.ok, path=done.path, message=done.message, messages=done.messages, lost=done.lost,
            bytes=done.bytes, counts=done.counts_json,
        ))

    def _report(self) -> None:
        taps = self._taps
        level, message = (2, "episodes could not be recorded") if self._failed else (0, self._recorder.recording or "listening")
        self.diagnose("recorder", level, message, {
            "topics": len(taps.topics), "unavailable": "; ".join(f"{t}: {w}" for t, w in taps.unavailable.items()),
            "committed": self._committed, "failed": self._failed, "lost": self._lost, "high_water": taps.high_water,
            "cpu_s": f"{time.process_time():.2f}",
        })

    def close(self) -> None:
        self._poll()
        for done in self._recorder.close():
            self._acknowledge(done)
        self._store.close()


def main() -> None:
    run_node(RecorderNode)


if __name__ == "__main__":
    main()
