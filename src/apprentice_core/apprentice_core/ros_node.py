"""What every node of the suite shares: declared parameters, diagnostics, and a main that ends cleanly."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.service import Service
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer
from std_msgs.msg import String

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_answers import answer_patiently
from apprentice_core.ros_dds import prepare_dds
from apprentice_core.ros_executor import LeanExecutor
from apprentice_core.ros_qos import LATCHED

MATCHED_TOPIC = "matched"
LOOK_AT_MATCHES = 0.1
"""every node looks so often whether other subscriptions hear it, s (ours)"""


@dataclass(frozen=True)
class Param:
    """One parameter: its default gives the type; `bounds` (inclusive) or `choices` restrict it."""

    name: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None
    read_only: bool = True


def _descriptor(p: Param) -> ParameterDescriptor:
    d = ParameterDescriptor(description=p.description, read_only=p.read_only)
    if p.choices:
        d.additional_constraints = "one of: " + ", ".join(p.choices)
    if p.bounds and isinstance(p.default, bool) is False:
        if isinstance(p.default, int):
            d.integer_range = [IntegerRange(from_value=int(p.bounds[0]), to_value=int(p.bounds[1]), step=0)]
        else:
            d.floating_point_range = [FloatingPointRange(from_value=float(p.bounds[0]), to_value=float(p.bounds[1]), step=0.0)]
    return d


class ApprenticeNode(Node):
    """A node with declared parameters only: an unknown name, a wrong type or a value out of range is refused at start by name."""

    interrupts = False
    """whether waking up may interrupt who runs at pace lockstep: the arm's node alone, since what it computes is what takes long"""

    def __init__(self, name: str, parameters: Sequence[Param] = (), namespace: str | None = None):
        super().__init__(name, namespace=namespace)
        self.settings: dict[str, Any] = {}
        known = {p.name for p in parameters} | {"use_sim_time", "start_type_description_service"}
        for given in self._parameter_overrides:
            if given not in known and not given.startswith("qos_overrides."):
                raise ApprenticeError(f"{name}: unknown parameter {given!r}; known: {', '.join(sorted(known))}")
        for p in parameters:
            try:
                value = self.declare_parameter(p.name, p.default, _descriptor(p)).value
            except (InvalidParameterTypeException, InvalidParameterValueException, ParameterUninitializedException) as error:
                raise ApprenticeError(f"{name}: parameter {p.name!r}: {' '.join(str(error).split())}") from error
            if p.choices and value not in p.choices:
                raise ApprenticeError(f"{name}: parameter {p.name!r}: {value!r} is not one of {', '.join(p.choices)}")
            self.settings[p.name] = value
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._matched_publisher = self.create_publisher(String, MATCHED_TOPIC, LATCHED)
        self._matched: dict[str, int] = {}
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.steady_timer(LOOK_AT_MATCHES, self._tell_matched)
        self.exit_code = 0
        self._stop = threading.Event()
        if self.settings.get("pace") == "lockstep" and not self.interrupts:
            self.stand_back()

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Timer:
        """A timer of the steady clock, seconds: liveness and deadlines never follow sim time."""
        return self.create_timer(period, callback, clock=self._steady)

    def create_service(self, *args: Any, **kwargs: Any) -> Service:
        """As rclpy's; an answer that its client cannot hear yet is sent again until it can."""
        service = super().create_service(*args, **kwargs)
        answer_patiently(self, service)
        return service

    def diagnose(self, task: str, level: int, message: str, values: dict[str, Any]) -> None:
        """Publishes one status; `level` 0 OK, 1 WARN, 2 ERROR, 3 STALE."""
        status = DiagnosticStatus(
            level=bytes([level]), name=f"{self.get_name()}: {task}", message=message, hardware_id=self.get_namespace(),
            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _tell_matched(self) -> None:
        """Discovery goes pair by pair: a third node may see two others before they see each other, so each says for itself."""
        matched = {p.topic_name: p.get_subscription_count() for p in self.publishers if p is not self._matched_publisher}
        if matched != self._matched:
            self._matched = matched
            self._matched_publisher.publish(String(data=json.dumps({"node": self.get_fully_qualified_name(), "subscriptions": matched})))

    def request_stop(self, exit_code: int = 0) -> None:
        """Ends the node's main loop from any callback or thread."""
        self.exit_code = self.exit_code or exit_code
        self._stop.set()

    def stand_back(self, on: bool = True) -> None:
        """Whether waking this process may interrupt one that runs (Linux: batch scheduling, which any user may ask for). It has its whole
        share of the processor either way. For all its threads."""
        if not hasattr(os, "SCHED_BATCH"):
            return
        policy = os.SCHED_BATCH if on else os.SCHED_OTHER
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has just ended
                os.sched_setscheduler(int(thread), policy, os.sched_param(0))

    def wake(self) -> None:
        """From any thread: what a coroutine of this node awaits is there."""
        if self.executor is not None:
            self.executor.wake()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def close(self) -> None:
        """Releases what the node holds; called once, after the executor stopped."""


def run_node(factory: Callable[[], ApprenticeNode], args: Sequence[str] | None = None) -> None:
    """The main of every node: 0 after SIGINT or SIGTERM, 2 with one line on a wrong parameter, config or bundle."""
    prepare_dds()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    code, node = 0, None
    executor = LeanExecutor()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        node = factory()
        executor.add_node(node)
        # What was made until here stays: no collection of garbage needs to look through it again.
        gc.collect()
        gc.freeze()
        while not stop.is_set() and not node.stopping:
            executor.turn(0.1)
        code = node.exit_code
    except ApprenticeError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 2
    except (ExternalShutdownException, KeyboardInterrupt):
        code = 0
    finally:
        if node is not None:
            node.close()
            executor.remove_node(node)
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
    sys.exit(code)
