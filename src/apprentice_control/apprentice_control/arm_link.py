"""arm_node's end of the control loop at pace realtime: starts its process, gives orders, takes what it tells, and outlives it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from apprentice_control.arm_session import ESTOP_FILE
from apprentice_control.estop import EstopLatch
from apprentice_control.kinematics import Kinematics
from apprentice_control.loop_messages import TYPES, ArmFacts, ArmOrder, ArmStatus, Call, CallResult, Cycles, EstopOrder, Failed
from apprentice_control.loop_process import LoopOptions
from apprentice_control.realtime import CycleStatistics
from apprentice_control.state_sample import ArmSample
from apprentice_control.wire import Wire
from apprentice_core.config import RobotProfile
from apprentice_core.errors import SafetyError

START_TIMEOUT, CALL_TIMEOUT, END_TIMEOUT = 60.0, 10.0, 5.0
"""s that the process is given to start on a busy machine, to answer a call (a scene reset takes a fraction of one), to end (ours)"""
SILENCE = 2.0
"""s without a word after which the loop counts as lost; it tells of itself at the state rate (ours)"""
LOOK = 0.1
"""s of silence at most that one look counts: this process may have been held up itself (ours)"""


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started within never hears Ctrl-C or the launcher's signals: arm_node does, and ends it in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ArmLink:
    """The same calls as ArmSession's, each a message to the loop's process; SafetyError when that has ended or does not answer."""

    def __init__(self, robot: RobotProfile, options: LoopOptions):
        self.statistics = CycleStatistics()
        self.status: ArmStatus
        self._kinematics = Kinematics(robot)
        self._inbox: deque[Any] = deque()
        self._latch_file = Path(options.state_folder) / ESTOP_FILE
        self._unlatched: EstopOrder | None = None
        self._number = 0
        self._silence, self._looked = 0.0, time.monotonic()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "apprentice_control.loop_process", str(theirs.fileno()), options.to_json()]
        with theirs, _deaf():
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        self._wire = Wire(ours, TYPES)
        try:
            self.facts: ArmFacts = self._await(ArmFacts, START_TIMEOUT)
        except SafetyError:
            self.close()
            raise

    @property
    def scene(self) -> bool:
        return "scene" in self.facts.capabilities

    def now_ns(self) -> int:
        return time.time_ns()

    # -- orders and services, as of ArmSession -------------------------------------------------------------------------

    def obey(self, order: ArmOrder) -> None:
        self._send(order if order.values is None else replace(order, values=tuple(order.values)))

    def request_estop(self, reason: str, requested_by: str) -> None:
        self._unlatched = EstopOrder(reason, requested_by)
        self._send(self._unlatched)

    def reset_estop(self) -> None:
        self._call("reset_estop")

    def tare(self) -> None:
        self._call("tare")

    def reset_scene(self, initial_state: str, seed: int | None) -> str:
        return self._call("reset_scene", initial_state, seed)

    # -- what the loop tells -------------------------------------------------------------------------------------------

    def reports(self) -> list[Any]:
        """New samples (with the tool), scenes, records and events, in order; to be called often. `status` is up to date then.

        SafetyError when the process has ended, or is ended here because it has said nothing for too long.
        """
        self._listen(0.0)
        now = time.monotonic()
        self._silence += min(now - self._looked, LOOK)
        self._looked = now
        if self._silence > SILENCE:
            # It would not brake by itself either.
            self.process.kill()
            raise SafetyError(f"the control loop says nothing any more (process {self.process.pid})")
        reports = list(self._inbox)
        self._inbox.clear()
        return reports

    def close(self) -> None:
        """Closes the wire, upon which the process brakes the arm and ends; it is killed where it does not."""
        self._wire.close()
        try:
            self.process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._unlatched is not None:
            # Who asked for the stop must find the next arm_node stopped, although the loop is gone with the request.
            EstopLatch(self._latch_file).latch(self._unlatched.reason, self._unlatched.requested_by)

    def _send(self, message: Any) -> None:
        try:
            self._wire.send(message)
        except EOFError:
            # Its last words are still to be read, and `reports` says the rest.
            return

    def _call(self, name: str, *arguments: Any) -> str:
        self._number += 1
        self._send(Call(self._number, name, arguments))
        while True:
            result: CallResult = self._await(CallResult, CALL_TIMEOUT)
            if result.number == self._number:
                break
        if result.error:
            raise SafetyError(result.error)
        return result.value

    def _await(self, kind: type, timeout: float) -> Any:
        """The next message of a kind; the others wait for `reports`."""
        deadline = time.monotonic() + timeout
        while True:
            for i, message in enumerate(self._inbox):
                if isinstance(message, kind):
                    del self._inbox[i]
                    return message
            left = deadline - time.monotonic()
            if left <= 0:
                raise SafetyError(f"the control loop did not answer within {timeout:g} s (process {self.process.pid})")
            self._listen(left)

    def _listen(self, timeout: float) -> None:
        try:
            self._wire.flush()
            messages = self._wire.receive(timeout)
        except EOFError as error:
            raise SafetyError(f"the control loop has ended (process {self.process.pid}, exit {self._exit_code()})") from error
        if messages:
            self._silence = 0.0
        for message in messages:
            if isinstance(message, Failed):
                raise SafetyError(message.message)
            if isinstance(message, Cycles):
                for duration, late in zip(message.durations, message.late, strict=True):
                    self.statistics.add(duration, late)
                self.statistics.skipped = message.skipped
            elif isinstance(message, ArmStatus):
                self.status = message
                if message.latched:
                    self._unlatched = None
            elif isinstance(message, ArmSample):
                pose, twist = self._kinematics.tool(message.position, message.velocity)
                self._inbox.append(replace(message, pose=pose, twist=twist))
            else:
                self._inbox.append(message)

    def _exit_code(self) -> int | None:
        try:
            return self.process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None
