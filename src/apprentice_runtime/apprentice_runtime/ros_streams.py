"""Observation streams without a callback per message.

At 100 Hz and more, waking Python for every joint state would cost each node milliseconds a control step. These subscriptions stay
out of the executor's wait set; who needs them drains them, serialised, and only what a tick names is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from apprentice_core.assembler import ObservationAssembler, Part
from apprentice_core.cdr import header_stamp
from apprentice_core.cell import StreamSpec
from apprentice_core.ros_polled import PolledGroup, message_class, set_awake, take_raw
from apprentice_core.ros_qos import sensor_subscriber
from apprentice_core.streams import JointNames, is_image
from apprentice_runtime.tick import TickPlan


def _ignore(_: Any) -> None:
    """Polled subscriptions have no callback of their own."""


class StreamTaps:
    """Taps on the streams of a cell. The arrival of streams in `wake` (few and slow ones: cameras) calls `on_wake` while `awake`
    (under LeanExecutor; another executor never sees a PolledGroup). `carried`: all but images comes with the ticks, through `take`."""

    def __init__(
        self, node: Node, streams: Sequence[StreamSpec], robot: JointNames, lockstep: bool, wake: Sequence[str] = (), on_wake: Any = None,
        awake: bool = True, carried: bool = False,
    ):
        self._types = {s.name: message_class(s.type) for s in streams}
        self.assembler = ObservationAssembler(streams, robot, depth=400, decode=self._decode)
        self._node, self._on_wake = node, on_wake
        polled, self._waking = PolledGroup(), PolledGroup()
        self._waking.polled = not awake
        # History, so that a tick may name any message of the last period and not the very newest only.
        qos = sensor_subscriber(lockstep, depth=200)
        self._taps: list[tuple[str, Subscription]] = []
        for s in streams:
            if carried and not is_image(s):
                continue
            callback = partial(self._arrived, s.name) if s.name in wake else _ignore
            group = self._waking if s.name in wake else polled
            self._taps.append((s.name, node.create_subscription(
                self._types[s.name], s.topic, callback, qos, raw=True, callback_group=group
            )))

    def stay_awake(self, awake: bool) -> None:
        """Whether `on_wake` is called from now on."""
        set_awake(self._node, self._waking, awake)

    def _decode(self, stream: str, raw: bytes) -> Any:
        return deserialize_message(raw, self._types[stream])

    def _arrived(self, stream: str, raw: bytes) -> None:
        self.assembler.put_stamped(stream, header_stamp(raw), raw)
        self._on_wake()

    def drain(self) -> None:
        """Takes all that has come."""
        for name, subscription in self._taps:
            while (taken := take_raw(subscription)) is not None:
                self.assembler.put_stamped(name, header_stamp(taken[0]), taken[0])

    def carried(self, parts: Sequence[Part]) -> dict[str, bytes]:
        """The messages that a tick with these parts brings along: all that are here but images, which are large."""
        kept = ((p.stream, self.assembler.kept(p.stream, p.stamp)) for p in parts if not is_image(self.assembler.streams[p.stream]))
        return {stream: raw for stream, raw in kept if raw is not None}

    def take(self, plan: TickPlan) -> None:
        """The parts that a tick has brought along."""
        for p in plan.parts:
            raw = plan.carried.get(p.stream)
            if raw is not None and p.stream in self._types:
                self.assembler.put_stamped(p.stream, p.stamp, raw)

    def lost(self, parts: Mapping[str, int]) -> list[str]:
        """Streams of `parts` (stream to stamp) whose exact message will never come, since a later one is here (realtime: best effort)."""
        newest = self.assembler.newest()
        return [n for n in self.assembler.lacks(parts) if (part := newest[n]) is not None and part.stamp > parts[n]]

    def destroy(self) -> None:
        for _, subscription in self._taps:
            self._node.destroy_subscription(subscription)
        self._taps = []
