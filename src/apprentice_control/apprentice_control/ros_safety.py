"""Safety data as messages: what was applied, events, status and the emergency stop."""

from __future__ import annotations

import time
from array import array

import numpy as np
from rclpy.node import Node

from apprentice_control.arm_command import AppliedRecord
from apprentice_control.loop_messages import ArmStatus, LoopEvent
from apprentice_control.realtime import LoopTiming
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_interfaces.msg import Applied, EstopState, SafetyEvent, SafetyStatus, Stage


def _float32(values: np.ndarray) -> array[float]:
    return array("f", np.ascontiguousarray(values, dtype=np.float32).tobytes())


class SafetyPublisher:
    """`applied`, `safety/event`, `safety/status` and the latched `estop/state`."""

    def __init__(self, node: Node):
        self._applied = node.create_publisher(Applied, "applied", SPINE)
        self._event = node.create_publisher(SafetyEvent, "safety/event", SPINE)
        self._status = node.create_publisher(SafetyStatus, "safety/status", SPINE)
        self._estop = node.create_publisher(EstopState, "estop/state", LATCHED)

    def applied(self, r: AppliedRecord, stamp: int) -> None:
        """`stamp`: node time of the observation that follows, ns."""
        m = Applied(
            step_id=r.step_id, episode_id=r.episode_id, outcome=r.outcome, reason=r.reason, source=r.source,
            mixed=_float32(r.mixed), executed=_float32(r.executed), received=to_time(r.received), applied=to_time(r.applied),
            stages=[
                Stage(name=s.name, before=array("d", s.before), after=array("d", s.after), changed=s.changed, reason=s.reason)
                for s in r.stages
            ],
        )
        m.header.stamp = to_time(stamp)
        self._applied.publish(m)

    def loop_event(self, told: LoopEvent) -> None:
        e = told.event
        self.event(e.code, e.stage, e.outcome, e.message, told.stamp, e.episode_id, e.step_id, e.before, e.after)

    def event(
        self, code: str, stage: str, outcome: str, message: str, stamp: int, episode_id: str = "", step_id: int = 0,
        before: tuple[float, ...] = (), after: tuple[float, ...] = (),
    ) -> None:
        m = SafetyEvent(
            code=code, stage=stage, outcome=outcome, episode_id=episode_id, step_id=step_id, before=array("d", before),
            after=array("d", after), message=message,
        )
        m.header.stamp = to_time(stamp)
        self._event.publish(m)

    def status(self, s: ArmStatus, timing: LoopTiming, stamp: int) -> None:
        m = SafetyStatus(
            state=s.state, reason=s.reason, estop=s.latched, clamps=s.clamps, holds=s.holds, stops=s.stops,
            loop_median=timing.median, loop_p99=timing.p99, overrun_fraction=timing.overrun_fraction,
        )
        m.header.stamp = to_time(stamp)
        self._status.publish(m)

    def estop(self, s: ArmStatus) -> None:
        self._estop.publish(EstopState(
            stamp=to_time(time.time_ns()), latched=s.latched, reason=s.estop_reason, requested_by=s.estop_by,
        ))
