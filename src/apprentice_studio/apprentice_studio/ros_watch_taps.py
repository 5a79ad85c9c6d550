"""Every topic that Watch shows, polled: newest only, best effort, and turned into what goes over the link."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_polled import PolledGroup, message_class, take_raw
from apprentice_core.ros_qos import LATCHED, SPINE, STATIC, sensor_subscriber
from apprentice_core.streams import stamp_ns
from apprentice_interfaces.msg import EpisodeEvent, EstopState, PolicyStatus, Reward, SafetyEvent, SafetyStatus, Step
from apprentice_studio.watch_link import Frame, json_frame, picture_frame

TRACE = 200
"""messages of a trace that may wait between two looks: 0.05 s at 1 kHz, with room for a late look (ours)"""
CAMERA, REWARD = "camera/", "reward/"
IMAGE_TAIL = "/image/compressed"
MOVING = ("/tf", "tf2_msgs/msg/TFMessage")
"""The arm is drawn from its frames, 10 a second: joint states and the tool's pose would be 40 messages more to send in every control
step, for nothing that a person could see."""
TF_AGE = 0.5
"""s; five of them (ours)"""


@dataclass(frozen=True)
class Told:
    """What goes to the server. `key`: what it replaces there; None: nothing, it is one of a series."""

    key: str | None
    frame: Frame


@dataclass
class Tap:
    """One subscription; `use` makes of a message what is told of it. `every`: s between two looks."""

    subscription: Subscription
    use: Callable[[Any], Told | None]
    series: bool = False
    every: float = 0.0
    due: float = 0.0
    heard: float | None = None
    opened: float = field(default_factory=time.monotonic)


def rounded(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """For JSON, which has no NaN: what is not finite is null."""
    return [round(v, digits) if math.isfinite(v) else None for v in values]


def _seconds(stamp: Any) -> float:
    return round(stamp_ns(stamp) * 1e-9, 4)


def _newest(key: str, item: dict[str, Any]) -> Told:
    return Told(key, json_frame(item))


class WatchTaps:
    """`poll` takes what has come, `watch` opens and closes the fast streams, `discover` finds cameras and reward sources."""

    def __init__(self, node: ApprenticeNode, camera_rate: float, tell: Callable[[Told], None]):
        self._node, self._tell, self._camera_every = node, tell, 1.0 / camera_rate
        self._group = PolledGroup()
        self._taps: dict[str, Tap] = {}
        self._streams: dict[str, tuple[str, str]] = {"tf": MOVING}
        self._watched = False
        self.person = ""
        """who drives by take-over, as the mux last said"""
        self.stopped = False
        """the emergency stop's latch, as arm_node last said"""
        always: tuple[tuple[Any, str, QoSProfile, Callable[[Any], Told | None], bool], ...] = (
            (String, CELL_SPEC_TOPIC, LATCHED, self._spec, False),
            (String, "robot_description", LATCHED, lambda m: _newest("urdf", {"t": "urdf", "text": m.data}), False),
            (TFMessage, "/tf_static", STATIC, _frames, True),
            (SafetyStatus, "safety/status", sensor_subscriber(False), _safety, False),
            (SafetyEvent, "safety/event", SPINE, _event, True),
            (EstopState, "estop/state", LATCHED, self._estop, False),
            (String, "control/state", LATCHED, self._control, False),
            (PolicyStatus, "policy/status", LATCHED, _policy, False),
            (EpisodeEvent, "episode/event", SPINE, _episode, True),
            (Step, "step", sensor_subscriber(False, TRACE), _step, True),
            (DiagnosticArray, "/diagnostics", sensor_subscriber(False, TRACE), self._diagnostics, True),
        )
        for kind, topic, qos, use, series in always:
            self._open(topic, kind, topic, qos, use, series)

    # opening and closing

    def _open(
        self, name: str, kind: Any, topic: str, qos: QoSProfile, use: Callable[[Any], Told | None], series: bool = False,
        every: float = 0.0,
    ) -> None:
        subscription = self._node.create_subscription(kind, topic, lambda _: None, qos, raw=True, callback_group=self._group)
        self._taps[name] = Tap(subscription, use, series, every)

    def watch(self, on: bool) -> None:
        """Whether somebody looks: the streams of the spec, cameras and rewards are subscribed to only then."""
        self._watched = on
        self._refresh()

    def _refresh(self) -> None:
        wanted = self._streams if self._watched else {}
        for name in [n for n, t in self._taps.items() if n.startswith("stream ") and n[7:] not in wanted]:
            self._node.destroy_subscription(self._taps.pop(name).subscription)
        for stream, (topic, kind) in wanted.items():
            if f"stream {stream}" not in self._taps:
                self._open_stream(stream, topic, kind)

    def _open_stream(self, stream: str, topic: str, kind: str) -> None:
        uses: dict[str, tuple[Callable[[str, Any], Told], bool, float]] = {
            MOVING[1]: (_moving, False, 0.0),
            "geometry_msgs/msg/WrenchStamped": (_wrench, True, 0.0),
            "apprentice_interfaces/msg/Reward": (_reward, True, 0.0),
            "sensor_msgs/msg/CompressedImage": (_picture, False, self._camera_every),
        }
        if kind not in uses:
            return
        use, series, every = uses[kind]
        try:
            found = message_class(kind)
        except ApprenticeError as error:
            self._node.get_logger().warning(f"{topic}: {error}")
            return
        qos = sensor_subscriber(False, TRACE if series else 1)
        self._open(f"stream {stream}", found, topic, qos, partial(use, stream), series, every)

    def discover(self) -> None:
        """Cameras beside those of the spec, and reward sources."""
        prefix = self._node.get_namespace().rstrip("/") + "/"
        known = len(self._streams)
        for topic, types in self._node.get_topic_names_and_types():
            short = topic.removeprefix(prefix)
            if short == topic or len(types) != 1:
                continue
            if short.startswith(REWARD) and types == ["apprentice_interfaces/msg/Reward"]:
                self._streams.setdefault(short, (short, types[0]))
            elif short.startswith(CAMERA) and short.endswith(IMAGE_TAIL) and types == ["sensor_msgs/msg/CompressedImage"]:
                self._streams.setdefault(short.removesuffix(IMAGE_TAIL), (short, types[0]))
        if len(self._streams) != known:
            self._refresh()

    @property
    def pace(self) -> str:
        """'' until arm_node was heard; only a lockstep cell publishes /clock."""
        if self._taps["safety/status"].heard is None:
            return ""
        return "lockstep" if self._node.count_publishers("/clock") else "realtime"

    # taking

    def poll(self) -> None:
        now = time.monotonic()
        for tap in tuple(self._taps.values()):
            if now < tap.due:
                continue
            raw: bytes | None = None
            for _ in range(TRACE):
                taken = take_raw(tap.subscription)
                if taken is None:
                    break
                if tap.series:
                    self._use(tap, taken[0])
                raw = taken[0]
            if raw is None:
                continue
            tap.heard, tap.due = now, now + 0.9 * tap.every
            if not tap.series:
                self._use(tap, raw)

    def _use(self, tap: Tap, raw: bytes) -> None:
        told = tap.use(deserialize_message(raw, tap.subscription.msg_type))
        if told is not None:
            self._tell(told)

    def ages(self) -> dict[str, float]:
        """s since each fast stream and safety/status last said something; one that never did: since it was subscribed to."""
        now = time.monotonic()
        return {n: round(now - (t.opened if t.heard is None else t.heard), 3) for n, t in self._live()}

    def unheard(self) -> list[str]:
        """Which of them have never said anything."""
        return [n for n, t in self._live() if t.heard is None]

    def _live(self) -> list[tuple[str, Tap]]:
        return [(n.removeprefix("stream "), t) for n, t in self._taps.items() if n.startswith("stream ") or n == "safety/status"]

    # messages whose content this side needs too

    def _spec(self, message: String) -> Told | None:
        try:
            spec, _ = cell_spec_from_json(message.data)
        except ApprenticeError as error:
            self._node.get_logger().error(str(error))
            return None
        self._streams |= {s.name: (s.topic, s.type) for s in spec.streams}
        self._refresh()
        return _newest("spec", {
            "t": "spec", "cell": spec.name, "robot": spec.robot, "task": spec.task, "tool_frame": spec.tool_frame,
            "base_frame": spec.base_frame, "period": spec.timing.control_period,
            "streams": {"tf": TF_AGE} | {s.name: s.max_age for s in spec.streams},
            "action_space": spec.action_space.name,
        })

    def _estop(self, message: EstopState) -> Told:
        self.stopped = message.latched
        return _newest("estop", {
            "t": "estop", "latched": message.latched, "reason": message.reason, "by": message.requested_by,
            "stamp": _seconds(message.stamp),
        })

    def _control(self, message: String) -> Told | None:
        try:
            said = json.loads(message.data)
            self.person = str(said["person"])
            return _newest("control", {"t": "control", "person": self.person, "forced": bool(said["forced"])})
        except (ValueError, KeyError, TypeError) as error:
            self._node.get_logger().warning(f"control/state: not understood: {error}")
            return None

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # Who names a namespace belongs to that cell; a driver that names its hardware belongs to whoever listens.
            if status.hardware_id.startswith("/") and status.hardware_id != self._node.get_namespace():
                continue
            self._tell(_newest(f"diagnostic {status.name}", {
                "t": "diagnostic", "name": status.name, "level": status.level[0], "message": status.message,
                "values": {v.key: v.value for v in status.values},
            }))


# messages as what the page gets


def _moving(_: str, m: TFMessage) -> Told:
    return _newest("tf", {"t": "tf", "frames": _frame_list(m)})


def _wrench(name: str, m: Any) -> Told:
    f, t = m.wrench.force, m.wrench.torque
    values = rounded((f.x, f.y, f.z, t.x, t.y, t.z), 4)
    return Told(None, json_frame({"t": "wrench", "name": name, "stamp": _seconds(m.header.stamp), "values": values}))


def _reward(name: str, m: Reward) -> Told:
    return Told(None, json_frame({
        "t": "reward", "source": m.source, "model": m.model_id, "episode": m.episode_id, "step_id": m.step_id,
        "stamp": _seconds(m.header.stamp), "values": dict(zip(m.names, rounded(m.values), strict=False)), "success": m.success,
        "terminal": m.terminal,
    }))


def _picture(name: str, m: CompressedImage) -> Told:
    header = {"camera": name.removeprefix(CAMERA), "stamp": _seconds(m.header.stamp), "format": m.format}
    return Told(name, picture_frame(header, bytes(m.data)))


def _frame_list(m: TFMessage) -> list[dict[str, Any]]:
    frames = []
    for t in m.transforms:
        p, q = t.transform.translation, t.transform.rotation
        frames.append({
            "parent": t.header.frame_id, "child": t.child_frame_id, "position": rounded((p.x, p.y, p.z)),
            "quaternion": rounded((q.x, q.y, q.z, q.w)),
        })
    return frames


def _frames(m: TFMessage) -> Told:
    return Told(None, json_frame({"t": "frames", "frames": _frame_list(m)}))


def _safety(m: SafetyStatus) -> Told:
    median, p99, overruns = rounded((m.loop_median, m.loop_p99, m.overrun_fraction), 7)
    return _newest("safety", {
        "t": "safety", "state": m.state, "reason": m.reason, "estop": m.estop, "clamps": m.clamps, "holds": m.holds, "stops": m.stops,
        "loop_median": median, "loop_p99": p99, "overrun_fraction": overruns,
    })


def _event(m: SafetyEvent) -> Told:
    return Told(None, json_frame({
        "t": "event", "code": m.code, "stage": m.stage, "outcome": m.outcome, "message": m.message, "episode": m.episode_id,
        "step_id": m.step_id,
    }))


def _policy(m: PolicyStatus) -> Told:
    return _newest("policy", {
        "t": "policy", "source": m.source, "bundle": m.bundle_id, "ready": m.ready, "message": m.message,
    })


def _episode(m: EpisodeEvent) -> Told:
    return Told(None, json_frame({
        "t": "episode", "event": m.event, "episode": m.episode_id, "kind": m.kind, "task": m.task, "source": m.source, "steps": m.steps,
        "reason": m.reason, "success": m.success,
    }))


def _step(m: Step) -> Told:
    return Told(None, json_frame({
        "t": "step", "episode": m.episode_id, "step": m.step, "step_id": m.step_id, "actor": m.actor, "person": m.intervention,
        "outcome": m.outcome, "reason": m.reason, "executed": rounded(m.executed, 3),
    }))
