"""Messages of constant layout, patched in serialised form: no conversion and no serialisation per message."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from apprentice_core.ros_time import BILLION

STAMP_AT = 4
"""a header's stamp comes first, after the four bytes that name the encoding"""


class MessageTemplate:
    """A stamped message of which only the stamp and runs of float64 change.

    `set_runs(message, runs)` writes the runs (lists of floats of the given `sizes`) into a message; it is called once, with marks
    that are then looked for in the serialised form. ValueError when a run is not found there whole, once.
    """

    def __init__(self, message: Any, sizes: Sequence[int], set_runs: Callable[[Any, list[list[float]]], None]):
        marks = [[1000.0 * (i + 1) + j + 0.5 for j in range(n)] for i, n in enumerate(sizes)]
        set_runs(message, marks)
        self._raw = bytearray(serialize_message(message))
        if not self._raw[1] & 1:
            raise ValueError("this middleware serialises big-endian")
        self._views: list[np.ndarray] = []
        for run in marks:
            packed = struct.pack(f"<{len(run)}d", *run)
            if self._raw.count(packed) != 1:
                raise ValueError(f"{type(message).__name__}: a run of {len(run)} numbers is not found once in the serialised message")
            self._views.append(np.frombuffer(self._raw, dtype="<f8", count=len(run), offset=self._raw.index(packed)))

    def fill(self, stamp: int, *runs: np.ndarray) -> bytes:
        """The serialised message at node time `stamp`, ns; ValueError when a run has another size than it was made for."""
        struct.pack_into("<iI", self._raw, STAMP_AT, *divmod(stamp, BILLION))
        for view, run in zip(self._views, runs, strict=True):
            if run.shape != view.shape:
                raise ValueError(f"a run of {run.shape} where {view.shape} belongs")
            view[:] = run
        return bytes(self._raw)


def joint_state_template(frame: str, names: Sequence[str]) -> MessageTemplate:
    """Runs: position, velocity, effort, one number a joint."""

    def set_runs(m: JointState, runs: list[list[float]]) -> None:
        m.position, m.velocity, m.effort = runs

    return MessageTemplate(JointState(header=Header(frame_id=frame), name=list(names)), [len(names)] * 3, set_runs)


def pose_template(frame: str) -> MessageTemplate:
    """Run: xyz, xyzw."""

    def set_runs(m: PoseStamped, runs: list[list[float]]) -> None:
        p, q = m.pose.position, m.pose.orientation
        p.x, p.y, p.z, q.x, q.y, q.z, q.w = runs[0]

    return MessageTemplate(PoseStamped(header=Header(frame_id=frame)), [7], set_runs)


def twist_template(frame: str) -> MessageTemplate:
    """Run: linear, angular."""

    def set_runs(m: TwistStamped, runs: list[list[float]]) -> None:
        v, w = m.twist.linear, m.twist.angular
        v.x, v.y, v.z, w.x, w.y, w.z = runs[0]

    return MessageTemplate(TwistStamped(header=Header(frame_id=frame)), [6], set_runs)


def wrench_template(frame: str) -> MessageTemplate:
    """Run: force, torque."""

    def set_runs(m: WrenchStamped, runs: list[list[float]]) -> None:
        f, t = m.wrench.force, m.wrench.torque
        f.x, f.y, f.z, t.x, t.y, t.z = runs[0]

    return MessageTemplate(WrenchStamped(header=Header(frame_id=frame)), [6], set_runs)
