"""The wrist force sensor: `wrench_raw` -> `wrench` (tared, payload-compensated, low-passed), watched for saturation and sticking."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from apprentice_core.cdr import header_frame, header_stamp, last_doubles
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.config import load_cell, load_robot
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, SPINE, sensor_publisher, sensor_subscriber
from apprentice_core.ros_template import MessageTemplate, wrench_template
from apprentice_core.ros_time import to_time
from apprentice_core.streams import stamp_ns
from apprentice_core.urdf import hand
from apprentice_core.wrench import WrenchConfig
from apprentice_interfaces.msg import SafetyEvent
from apprentice_perception.force_pipeline import ForcePipeline, Sample
from apprentice_perception.stream_health import ERROR, OK, StreamHealth

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config; its robot's URDF says what hangs on the sensor"),
    Param("pace", "lockstep", "lockstep takes every sample reliably, realtime the newest", choices=("lockstep", "realtime")),
    Param("payload_mass", -1.0, "kg beyond the sensor; -1: from the URDF", bounds=(-1.0, 50.0)),
    Param("payload_com", [0.0, 0.0, 0.0], "m, sensor frame; used with payload_mass >= 0"),
    Param("cutoff", 50.0, "low-pass, Hz; 0 disables", bounds=(0.0, 1000.0)),
    Param("saturation", 200.0, "|force component| taken as saturated, N", bounds=(1.0, 10000.0)),
    Param("stuck_samples", 200, "identical raw samples in a row taken as a stuck sensor", bounds=(2, 100000)),
    Param("signs", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "per-axis factors that turn the sensor's sign into 'on the tool, by the world'"),
    Param("rate", 100.0, "expected rate of wrench_raw, Hz", bounds=(1.0, 10000.0)),
    Param("tare_window", 0.1, "samples of the last seconds that a tare averages", bounds=(0.02, 10.0)),
    Param("tare_still", 2.0, "largest force spread in the window, N; more means that the arm moves", bounds=(0.01, 100.0)),
)


def _vector(name: str, value: Any, size: int) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ApprenticeError(f"force_node: parameter {name!r}: must be {size} finite numbers")
    return array


class ForceNode(ApprenticeNode):
    """Subscribes wrench_raw, tool/pose and tared; publishes wrench with the stamps of the raw samples. Service: force/tare."""

    def __init__(self) -> None:
        super().__init__("force_node", PARAMETERS)
        s = self.settings
        carried = hand(load_robot(load_cell(s["cell"]).robot))
        x, y, z = _vector("payload_com", s["payload_com"], 3).tolist()
        mass, com = (carried.mass, carried.com) if s["payload_mass"] < 0 else (s["payload_mass"], (x, y, z))
        config = WrenchConfig(mass, com, s["cutoff"], s["saturation"], s["stuck_samples"])
        self._pipeline = ForcePipeline(config, carried.rotation, _vector("signs", s["signs"], 6))
        self._health = StreamHealth(s["rate"], 0.2, tolerance=0.5)
        self._lockstep = s["pace"] == "lockstep"
        self._simulated = self._lockstep
        self._newest = self._done = self._tare_at = 0
        self._faults: dict[str, bool] = {"saturated": False, "stuck": False}
        self._frame: str | None = None
        self._template: MessageTemplate | None = None
        qos = sensor_subscriber(self._lockstep, depth=10)
        self._publisher = self.create_publisher(WrenchStamped, "wrench", sensor_publisher(s["rate"]))
        self._events = self.create_publisher(SafetyEvent, "safety/event", SPINE)
        # Serialised, since a hundred of these a second would spend most of their time becoming objects.
        self.create_subscription(WrenchStamped, "wrench_raw", self._on_wrench, qos, raw=True)
        if mass > 0:
            self.create_subscription(PoseStamped, "tool/pose", self._on_pose, qos, raw=True)
        self.create_subscription(Header, "tared", self._on_tared, SPINE)
        self.create_subscription(String, CELL_SPEC_TOPIC, self._on_spec, LATCHED)
        self.create_service(Trigger, "force/tare", self._on_tare)
        self.steady_timer(1.0, self._report)

    def _on_wrench(self, raw: bytes) -> None:
        self._health.add(time.monotonic())
        self._newest = header_stamp(raw)
        frame = header_frame(raw)
        if frame != self._frame:
            self._frame = frame
            self._template = wrench_template(frame)
        self._publish(self._pipeline.offer_wrench(self._newest, last_doubles(raw, 6)))

    def _on_pose(self, raw: bytes) -> None:
        self._publish(self._pipeline.offer_pose(header_stamp(raw), last_doubles(raw, 4)))

    def _publish(self, samples: list[Sample]) -> None:
        for sample in samples:
            assert self._template is not None
            self._publisher.publish(self._template.fill(sample.stamp, sample.value))
        if samples:
            self._done = samples[-1].stamp
            self._watch()
        self._tare_when_due()

    def _watch(self) -> None:
        f = self._pipeline.filter
        for name, now in (("saturated", f.saturated), ("stuck", f.stuck and not self._simulated)):
            if now and not self._faults[name]:
                event = SafetyEvent(code=f"sensor_{name}", stage="force_node", outcome="hold", message=f"wrist force sensor is {name}")
                event.header.stamp = to_time(self._done)
                self._events.publish(event)
                self.get_logger().error(event.message)
            self._faults[name] = bool(now)

    def _on_spec(self, m: String) -> None:
        # A simulated sensor has no noise: at rest it repeats itself, and that is no fault.
        try:
            self._simulated = "lockstep" in cell_spec_from_json(m.data)[0].capabilities
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _on_tared(self, m: Header) -> None:
        self._tare_at = stamp_ns(m.stamp)
        self._tare_when_due()

    def _tare_when_due(self) -> None:
        # `tared` may overtake the samples that it speaks of: DDS gives no order across topics.
        if self._tare_at and self._done >= self._tare_at:
            until, self._tare_at = self._tare_at, 0
            self._tare(until)

    def _tare(self, until: int) -> tuple[bool, str]:
        ok, message = self._pipeline.tare(until, self.settings["tare_window"], self.settings["tare_still"])
        # Two lines on purpose: the logger refuses two severities from one.
        if ok:
            self.get_logger().info(f"tare: {message}")
        else:
            self.get_logger().warning(f"tare: {message}")
        return ok, message

    def _on_tare(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._tare(self._newest)
        return response

    def _report(self) -> None:
        health = self._health.check(time.monotonic())
        bad = [name for name, on in self._faults.items() if on]
        level, message = (ERROR, ", ".join(bad)) if bad else (health.level, health.message)
        if self._lockstep and not bad:
            level, message = OK, "lockstep: runs with the episode"
        p = self._pipeline
        self.diagnose("wrench", level, message, {
            "rate": f"{health.rate:.1f}", "age": f"{health.age:.3f}", "invalid": p.invalid, "late_poses": p.late_poses,
            "bias": " ".join(f"{x:.3f}" for x in p.filter.bias),
        })


def main() -> None:
    run_node(ForceNode)


if __name__ == "__main__":
    main()
