"""From messages to arrays: the single place where a message becomes part of an observation.

Live nodes hand in rclpy messages, the store hands in messages that `rosbags` decoded; both have the same attributes, so
both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from apprentice_core.cdr import CdrPeek, last_doubles
from apprentice_core.cell import StreamSpec
from apprentice_core.config import CameraConfig
from apprentice_core.images import decode_png
from apprentice_core.spaces import ArraySpec

TOOL_POSE = "tool/pose"
"""m in the base frame and quaternion xyzw [7]"""
CONNECTED = "connection/connected"
"""array of the connection signal, 0 or 1; it is there for reward sources, and policies read it only where their config names it"""

CONTACT_TOPIC = "scene/connected"
"""what a simulated socket's contacts say, for the node that stands for the wire at it"""
TRACKED = "tracked/"
"""before the names of object poses that an observation holds: `tracked/object/<name>/pose`, in place of the privileged one"""

Extractor = Callable[[Any], dict[str, np.ndarray]]


class HasJoints(Protocol):
    """The gripper's joint names, in the order of its arrays."""

    @property
    def joints(self) -> tuple[str, ...]: ...


class JointNames(Protocol):
    """What a robot must tell so that its JointStates become arrays: a RobotProfile, or the RobotJoints of a recorded cell spec."""

    @property
    def arm_joints(self) -> tuple[str, ...]: ...

    @property
    def gripper(self) -> HasJoints: ...


def stamp_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _joints(names: Sequence[str], prefix: str) -> Extractor:
    wanted = list(names)

    def extract(message: Any) -> dict[str, np.ndarray]:
        have = list(message.name)
        order = range(len(wanted)) if have == wanted else [have.index(j) for j in wanted]
        fields = (("position", message.position), ("velocity", message.velocity), ("effort", message.effort))
        return {f"{prefix}/{k}": np.array([v[i] for i in order], dtype=np.float32) for k, v in fields}

    return extract


def _pose(message: Any) -> dict[str, np.ndarray]:
    p, q = message.pose.position, message.pose.orientation
    return {"tool/pose": np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w], dtype=np.float32)}


def _twist(message: Any) -> dict[str, np.ndarray]:
    v, w = message.twist.linear, message.twist.angular
    return {"tool/twist": np.array([v.x, v.y, v.z, w.x, w.y, w.z], dtype=np.float32)}


def _wrench(message: Any) -> dict[str, np.ndarray]:
    f, t = message.wrench.force, message.wrench.torque
    return {"wrist/wrench": np.array([f.x, f.y, f.z, t.x, t.y, t.z], dtype=np.float32)}


def _connection(message: Any) -> dict[str, np.ndarray]:
    return {CONNECTED: np.array([message.connected], dtype=np.float32)}


def deviation(covariance: np.ndarray) -> np.ndarray:
    """[6, 6] of position and rotation about the fixed axes -> standard deviation of an axis, [2]: m, rad."""
    variance = np.diagonal(covariance)
    return np.sqrt([variance[:3].mean(), variance[3:].mean()])


def _tracked(name: str) -> Extractor:
    def extract(message: Any) -> dict[str, np.ndarray]:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        return {
            f"{name}/pose": np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w], dtype=np.float32),
            f"{name}/deviation": deviation(np.reshape(message.pose.covariance, (6, 6))).astype(np.float32),
        }

    return extract


def _image(name: str) -> Extractor:
    return lambda message: {name: decode_png(np.asarray(message.data, dtype=np.uint8))}


def proprio_streams(robot: JointNames) -> tuple[StreamSpec, ...]:
    """Joint states, gripper, tool pose and twist, wrench: what every cell observes besides images."""
    n, g = len(robot.arm_joints), len(robot.gripper.joints)
    joints = tuple(ArraySpec(f"joints/{k}", (n,), unit=u) for k, u in (("position", "rad"), ("velocity", "rad/s"), ("effort", "N m")))
    grip = tuple(ArraySpec(f"gripper/{k}", (g,), unit=u) for k, u in (("position", "m"), ("velocity", "m/s"), ("effort", "N")))
    return (
        StreamSpec("joints", "joint_states", "sensor_msgs/msg/JointState", joints),
        StreamSpec("gripper", "gripper/joint_states", "sensor_msgs/msg/JointState", grip),
        StreamSpec("tool/pose", "tool/pose", "geometry_msgs/msg/PoseStamped", (ArraySpec("tool/pose", (7,), unit="m, xyzw"),)),
        StreamSpec("tool/twist", "tool/twist", "geometry_msgs/msg/TwistStamped", (ArraySpec("tool/twist", (6,), unit="m/s, rad/s"),)),
        StreamSpec("wrist/wrench", "wrench", "geometry_msgs/msg/WrenchStamped", (ArraySpec("wrist/wrench", (6,), unit="N, N m"),)),
    )


def connection_stream() -> StreamSpec:
    return StreamSpec("connection", "connected", "apprentice_interfaces/msg/Connection", (ArraySpec(CONNECTED, (1,)),))


def tracked_stream(name: str) -> StreamSpec:
    """Pose of an object as cameras see it, and how sure it is (spec 001c checklist A25)."""
    whole = f"{TRACKED}object/{name}"
    arrays = (ArraySpec(f"{whole}/pose", (7,), unit="m, xyzw"), ArraySpec(f"{whole}/deviation", (2,), unit="m, rad"))
    return StreamSpec(whole, f"tracked/{name}/pose", "geometry_msgs/msg/PoseWithCovarianceStamped", arrays)


def camera_stream(name: str, camera: CameraConfig) -> StreamSpec:
    shape, dtype = ((*camera.record,), "uint16") if camera.depth else ((*camera.record, 3), "uint8")
    array = ArraySpec(f"camera/{name}", shape, dtype, "mm" if camera.depth else "")
    return StreamSpec(f"camera/{name}", f"camera/{name}/image/compressed", "sensor_msgs/msg/CompressedImage", (array,))


def is_image(stream: StreamSpec) -> bool:
    return stream.name.startswith("camera/")


def extractor(stream: StreamSpec, robot: JointNames) -> Extractor:
    """The function that turns a message of `stream` into its arrays; it raises ValueError or KeyError on a foreign message.

    KeyError at once when no stream has this name.
    """
    if stream.name == "joints":
        return _joints(robot.arm_joints, "joints")
    if stream.name == "gripper":
        return _joints(robot.gripper.joints, "gripper")
    fixed: dict[str, Extractor] = {"tool/pose": _pose, "tool/twist": _twist, "wrist/wrench": _wrench, "connection": _connection}
    if stream.name.startswith(TRACKED):
        return _tracked(stream.name)
    return _image(stream.name) if is_image(stream) else fixed[stream.name]


RawExtractor = Callable[[bytes], "dict[str, np.ndarray] | None"]
RAW = {"tool/pose": 7, "tool/twist": 6, "wrist/wrench": 6}
"""streams whose messages end with so many float64, which are what is observed"""


def raw_extractor(stream: StreamSpec, robot: JointNames) -> RawExtractor | None:
    """The same bits as `extractor`'s out of a serialised message, without an object made of it; where the function gives None, or there is
    none for this stream, the message has to be decoded."""
    if stream.name in RAW:
        name, count = stream.name, RAW[stream.name]
        return lambda raw: {name: last_doubles(raw, count).astype(np.float32)}
    if stream.name in ("joints", "gripper"):
        return _RawJoints(robot.arm_joints if stream.name == "joints" else robot.gripper.joints, stream.name)
    return None


class _RawJoints:
    """A JointState ends with position, velocity and effort, each a length and its numbers, at multiples of eight bytes. What stands between
    the stamp and them (frame and names) is read once, and again when it changes."""

    def __init__(self, names: Sequence[str], prefix: str):
        self._names, self._prefix, self._n = list(names), prefix, len(names)
        self._known = b""

    def __call__(self, raw: bytes) -> dict[str, np.ndarray] | None:
        run = 8 * self._n
        first = len(raw) - 3 * run - 16
        if first < 16 or not self._head_fits(raw[12:first]):
            return None
        fields = zip(("position", "velocity", "effort"), range(first, len(raw), run + 8), strict=True)
        return {f"{self._prefix}/{k}": np.frombuffer(raw, "<f8", self._n, at).astype(np.float32) for k, at in fields}

    def _head_fits(self, head: bytes) -> bool:
        if head == self._known:
            return True
        try:
            peek = CdrPeek(b"\x00\x01\x00\x00" + bytes(8) + head)
            peek.skip(8)
            peek.text()
            names = [peek.text() for _ in range(peek.number(4))]
            fits = names == self._names and peek.number(4) == self._n and peek.at + -peek.at % 8 == len(peek.data)
        except (ValueError, UnicodeDecodeError):
            return False
        if fits:
            self._known = head
        return fits


def objects_to_privileged(message: Any) -> dict[str, np.ndarray]:
    """apprentice_interfaces/ObjectStates -> object/<name>/pose float32 [7] and object/<name>/twist float32 [6]."""
    out: dict[str, np.ndarray] = {}
    for name, pose, twist in zip(message.names, message.poses, message.twists, strict=True):
        p, q, v, w = pose.position, pose.orientation, twist.linear, twist.angular
        out[f"object/{name}/pose"] = np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w], dtype=np.float32)
        out[f"object/{name}/twist"] = np.array([v.x, v.y, v.z, w.x, w.y, w.z], dtype=np.float32)
    return out
