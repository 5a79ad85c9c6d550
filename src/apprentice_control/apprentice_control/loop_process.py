"""The control loop in a process of its own, without ROS: at 1 kHz no other thread may hold the interpreter that it needs.

arm_node starts `python -m apprentice_control.loop_process FD OPTIONS` (see ArmLink) and keeps the other end of socket FD. When that
end closes, for whatever reason, the arm brakes and this process ends.
"""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from apprentice_control.arm_command import AppliedRecord
from apprentice_control.arm_session import ArmSession
from apprentice_control.loop_messages import TYPES, ArmOrder, Call, CallResult, Cycles, EstopOrder, Failed, LoopEvent
from apprentice_control.realtime import RealtimeLoop
from apprentice_control.wire import Wire
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError

BACKLOG = 1 << 20
"""bytes that wait for a stalled arm_node beyond which it is told of records, events and answers only (ours)"""


@dataclass(frozen=True)
class LoopOptions:
    """Configs by name; rates in Hz; `priority` as in RealtimeLoop."""

    cell: str
    task: str
    seed: int
    state_folder: str
    state_rate: float
    scene_rate: float
    priority: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class CycleLog:
    """The cycles since the last `take`."""

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._late: list[bool] = []
        self.skipped = 0

    def add(self, duration: float, late: bool) -> None:
        self._durations.append(duration)
        self._late.append(late)

    def take(self) -> Cycles:
        taken = Cycles(tuple(self._durations), tuple(self._late), self.skipped)
        self._durations.clear()
        self._late.clear()
        return taken


class LoopHost:
    """Each cycle of the session between what arm_node says and what it is told. `rebase`: see RealtimeLoop."""

    def __init__(self, session: ArmSession, wire: Wire, state_rate: float, scene_rate: float):
        self.session, self.wire, self.log = session, wire, CycleLog()
        period = session.backend.period
        self._every = max(1, round(1.0 / (state_rate * period)))
        self._scene_every = max(1, round(1.0 / (scene_rate * period)))
        self._now = 0
        self._scene_due, self._version = session.scene, -1
        self._record: AppliedRecord | None = None
        self._record_due = 0
        self.rebase: Callable[[], None] = lambda: None

    def cycle(self) -> None:
        """EOFError when arm_node is gone."""
        session = self.session
        out: list[Any] = []
        self._now = now = self._now + 1
        self._listen(out)
        # Not in the cycles in which the loop refreshes its dynamics.
        sampled = now % self._every == self._every // 2
        stamp = session.now_ns() if sampled else 0
        session.cycle()
        self._follow_record(out)
        if session.loop.outbox.events:
            stamp_now = session.now_ns()
            out += [LoopEvent(event, stamp_now) for event in session.loop.drain_events()]
        if now % self._scene_every == 0:
            self._scene_due = session.scene
        if sampled:
            cycles = self.log.take()
            if self.wire.backlog < BACKLOG:
                out += (session.seen(stamp), session.status, cycles)
        elif self._scene_due and not session.loop.planning and self.wire.backlog < BACKLOG:
            self._scene_due = False
            out.append(self._scene())
        if out:
            self.wire.send(*out)
        elif self.wire.backlog:
            self.wire.flush()

    def _listen(self, out: list[Any]) -> None:
        order: ArmOrder | None = None
        for message in self.wire.receive():
            if isinstance(message, ArmOrder):
                # The newest: what comes with a newer one is too late.
                order = message
            elif isinstance(message, EstopOrder):
                self.session.request_estop(message.reason, message.requested_by)
                out.append(self.session.status)
                self.rebase()
            elif isinstance(message, Call):
                result = self._call(message)
                out += (self.session.status, result)
                self.rebase()
        if order is not None:
            self.session.obey(order)

    def _call(self, call: Call) -> CallResult:
        function: dict[str, Callable[..., Any]] = {
            "reset_estop": self.session.reset_estop, "tare": self.session.tare, "reset_scene": self.session.reset_scene,
        }
        try:
            value = function[call.name](*call.arguments)
        except ApprenticeError as error:
            return CallResult(call.number, str(error), "")
        return CallResult(call.number, "", value or "")

    def _follow_record(self, out: list[Any]) -> None:
        """Tells each record once: when its period is over, since a stop or retreat may still change it, or when the next is there."""
        record = self.session.loop.applied()
        if record is not self._record:
            if self._record_due and self._record is not None:
                out.append(self._record)
            self._record, self._record_due = record, self._now + self.session.cycles
        elif self._record_due and self._now >= self._record_due:
            out.append(record)
            self._record_due = 0

    def _scene(self) -> Any:
        described = self.session.backend.world.version != self._version
        scene = self.session.scene_sample(described)
        self._version = scene.version
        return scene


def serve(session: ArmSession, wire: Wire, options: LoopOptions) -> None:
    """Runs the loop until arm_node's end of the wire closes. Whatever else ends it is raised; the arm brakes in any case."""
    host = LoopHost(session, wire, options.state_rate, options.scene_rate)
    loop = RealtimeLoop(session.backend.period, host.cycle, host.log, priority=options.priority)
    host.rebase = loop.rebase
    try:
        loop.prepare()
        session.scheduling = loop.scheduling
        wire.send(session.status, session.facts)
        loop.run()
    except EOFError:
        return
    finally:
        session.backend.stop_commanding()


def main() -> None:
    wire = Wire(socket.socket(fileno=int(sys.argv[1])), TYPES)
    options = LoopOptions(**json.loads(sys.argv[2]))
    try:
        cell = load_cell(options.cell)
        session = ArmSession(load_robot(cell.robot), cell, load_task(options.task), "realtime", options.seed, Path(options.state_folder))
        try:
            serve(session, wire, options)
        finally:
            session.close()
    except ApprenticeError as error:
        _last_words(wire, str(error))
    except Exception as error:  # noqa: BLE001 - arm_node has to hear of whatever it was
        traceback.print_exc()
        _last_words(wire, f"{type(error).__name__}: {error}")


def _last_words(wire: Wire, message: str) -> NoReturn:
    try:
        wire.send(Failed(message))
    finally:
        sys.exit(1)


if __name__ == "__main__":
    main()
