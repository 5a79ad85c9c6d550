"""The shell that every action source shares: policies, scripts and resets answer ticks through it.

On each tick that asks for the source, the shell waits until exactly the named messages are here (they may come after the tick),
lets the source act on them, and publishes `action/<source>` with the step id and the digest of the arrays that were acted on.
Scripts look at no picture, so their nodes decode none.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from apprentice_core.cdr import header_stamp
from apprentice_core.cell import ActionSource, CellSpec, SourceAction
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.episode import EpisodeContext
from apprentice_core.errors import ConfigError
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_polled import PolledGroup, set_awake, take_raw
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_core.spaces import ActionSpace, Observation, observation_digest
from apprentice_core.streams import is_image, objects_to_privileged
from apprentice_interfaces.msg import Action, Applied, EpisodeEvent, ObjectStates, SafetyEvent, Tick
from apprentice_runtime.ros_convert import action_to_msg, context_from_start, from_floats, tick_from_msg
from apprentice_runtime.ros_streams import StreamTaps
from apprentice_runtime.tick import EMPTY, Answer, TickPlan

RETRY = 0.001
"""while parts of a tick are still on their way, they are looked for so often, s (ours)"""
PATIENCE = 3.0
"""a tick whose parts have not come after so long is given up, s; the tick's owner has declared it missing by then (ours)"""


@dataclass
class _Job:
    plan: TickPlan
    received: int
    since: float


class PrivilegedTap:
    """`privileged/objects` by stamp, for sources that declare it. Nothing else in the shell knows that topic."""

    def __init__(self, node: ApprenticeNode):
        self._subscription = node.create_subscription(
            ObjectStates, "privileged/objects", lambda _: None, SPINE, raw=True, callback_group=PolledGroup()
        )
        self._kept: dict[int, bytes] = {}

    def at(self, stamp: int, exact: bool) -> dict[str, np.ndarray] | None:
        """The objects at node time `stamp` (lockstep: exactly, realtime: the newest before it); None while there are none."""
        while (taken := take_raw(self._subscription)) is not None:
            self._kept[header_stamp(taken[0])] = taken[0]
        while len(self._kept) > 400:
            del self._kept[next(iter(self._kept))]
        found = stamp if exact else max((s for s in self._kept if s <= stamp), default=-1)
        return objects_to_privileged(deserialize_message(self._kept[found], ObjectStates)) if found in self._kept else None


class SourceShell:
    """`make(spec)` gives the source once the cell's spec is known. With `worker` the source acts on a thread of its own, so that
    inference never blocks a callback; `before_episode(context)` runs on the executor's thread and may return another source to use.
    `pictures`: whether its observations hold those of the cameras."""

    def __init__(
        self, node: ApprenticeNode, name: str, make: Callable[[CellSpec], ActionSource], lockstep: bool, worker: bool = False,
        before_episode: Callable[[EpisodeContext, ActionSource], ActionSource] | None = None, pictures: bool = True,
    ):
        self.node, self.name, self.lockstep = node, name, lockstep
        self.source: ActionSource | None = None
        self.spec: CellSpec | None = None
        self.context: EpisodeContext | None = None
        self.answered = self.given_up = self.faults = self.overtaken = 0
        self.inference: list[float] = []
        self._make, self._before, self._pictures = make, before_episode, pictures
        self._taps: StreamTaps | None = None
        self._privileged: PrivilegedTap | None = None
        self._job: _Job | None = None
        self._newest = 0
        self._last: tuple[int, Observation] = (0, {})
        self._publisher: Publisher | None = None
        self._events = node.create_publisher(SafetyEvent, "safety/event", SPINE)
        self._retry = node.steady_timer(RETRY, self._try)
        self._retry.cancel()
        self._work: queue.SimpleQueue[Callable[[], None] | None] | None = queue.SimpleQueue() if worker else None
        self._thread = threading.Thread(target=self._work_off, name=f"{name} inference", daemon=True) if worker else None
        if self._thread:
            # By default the executor's thread would keep the interpreter for up to 5 ms after it has handed over an observation.
            sys.setswitchinterval(2e-4)
            self._thread.start()
        node.create_subscription(String, CELL_SPEC_TOPIC, self._on_spec, LATCHED)
        node.create_subscription(EpisodeEvent, "episode/event", self._on_event, SPINE)
        # Ticks wake the source while it drives alone: a cell has several that do not.
        self._spine = PolledGroup()
        self._ticks = node.create_subscription(Tick, "tick", self._on_tick, SPINE, callback_group=self._spine)
        self._applied = node.create_subscription(Applied, "applied", lambda _: None, SPINE, raw=True, callback_group=PolledGroup())

    @property
    def driving(self) -> bool:
        return self.context is not None

    def close(self) -> None:
        if self._work is not None and self._thread is not None:
            self._work.put(None)
            self._thread.join(timeout=5.0)

    def run_in_worker(self, job: Callable[[], None]) -> None:
        """Runs `job` where the source acts: on the worker, or at once."""
        if self._work is None:
            job()
        else:
            self._work.put(job)

    def _work_off(self) -> None:
        assert self._work is not None
        while (job := self._work.get()) is not None:
            job()

    def _on_spec(self, message: String) -> None:
        try:
            spec, robot = cell_spec_from_json(message.data)
            if spec == self.spec:
                return
            source = self._make(spec)
        except ConfigError as error:
            self.node.get_logger().error(str(error))
            return
        if self._taps:
            self._taps.destroy()
        self.spec, self.source = spec, source
        cameras = [s.name for s in spec.streams if is_image(s) and self._pictures]
        streams = [s for s in spec.streams if s.name in cameras or not is_image(s)]
        self._taps = StreamTaps(self.node, streams, robot, self.lockstep, cameras, self._ahead, awake=self.driving, carried=True)
        if source.needs_privileged and self._privileged is None:
            self._privileged = PrivilegedTap(self.node)
        # Last: who is seen to publish actions is asked for them.
        self._publisher = self._publisher or self.node.create_publisher(Action, f"action/{self.name}", SPINE)

    def _on_event(self, event: EpisodeEvent) -> None:
        if event.event == EpisodeEvent.END and self.context and event.episode_id == self.context.episode_id:
            self.context = None
            if self._job and self._job.plan.episode_id == event.episode_id:
                self._job = None
            self._stay_awake(False)
        elif event.event == EpisodeEvent.START and self.name in event.source.split("+") and self.source is not None:
            context = context_from_start(event)
            source = self._before(context, self.source) if self._before else self.source
            self.source, self.context = source, context
            self.run_in_worker(lambda: source.reset(context))
            self._stay_awake(True)
            self._catch_up()
            self._ahead()

    def _stay_awake(self, awake: bool) -> None:
        if self._taps:
            self._taps.stay_awake(awake)
        set_awake(self.node, self._spine, awake)

    def _catch_up(self) -> None:
        """Of the ticks that came while others drove only the newest may be this episode's first, which has overtaken its start."""
        newest = None
        while (taken := take_raw(self._ticks)) is not None:
            newest = taken[0]
        if newest is not None:
            self._on_tick(deserialize_message(newest, Tick))

    def _ahead(self) -> None:
        """An image or an episode's start has come, a tick is about to: what it will name is decoded by then."""
        if self._taps:
            self._taps.drain()
            self._taps.assembler.prepare()
            self._try()

    def _on_tick(self, message: Tick) -> None:
        while (taken := take_raw(self._applied)) is not None:
            self._see_applied(taken[0])
        if message.final or self.name not in message.sources:
            return
        self._newest = message.step_id
        self._job = _Job(tick_from_msg(message), time.time_ns(), time.monotonic())
        if self._taps:
            self._taps.take(self._job.plan)
        self._try()

    def _see_applied(self, raw: bytes) -> None:
        # Decoded only where it matters: when this source has just acted and somebody else may have driven.
        if self.source is None or self.context is None or not self._last[1]:
            return
        applied = deserialize_message(raw, Applied)
        step_id, observation = self._last
        if applied.step_id != step_id or applied.source == self.name or self.name not in self.context.source.split("+")[:1]:
            return
        source, executed = self.source, from_floats(applied.executed)
        self.run_in_worker(lambda: source.observe(observation, executed))

    def _try(self) -> None:
        job = self._job
        if job is None or self._taps is None or self.source is None:
            return
        if any(job.plan.missing):
            self._job = None
            self._retry.cancel()
            return
        parts = {p.stream: p.stamp for p in job.plan.parts if p.stream in self._taps.assembler.streams}
        if self._taps.assembler.lacks(parts):
            self._taps.drain()
        lost = [] if self.lockstep else self._taps.lost(parts)
        privileged = self._privileged.at(job.plan.stamp, self.lockstep) if self._privileged else None
        # Topics have no order among each other: the first tick may overtake the event that its episode starts with.
        waiting = self.context is None or self.context.episode_id != job.plan.episode_id
        waiting = waiting or (not lost and bool(self._taps.assembler.lacks(parts) or (self._privileged and privileged is None)))
        if waiting:
            if time.monotonic() - job.since > PATIENCE:
                self._job, self.given_up = None, self.given_up + 1
                self._retry.cancel()
            elif self._retry.is_canceled():
                self._retry.reset()
            return
        self._retry.cancel()
        self._job = None
        source, fault = self.source, f"never came: {', '.join(lost)}" if lost else ""
        # Nothing but what the tick names may be acted on: where a part of it was lost, the answer is that, at once.
        observation = {} if lost else self._taps.assembler.observation(parts)
        self.run_in_worker(lambda: self._act(job, source, observation, privileged, fault))

    def _act(
        self, job: _Job, source: ActionSource, observation: Observation, privileged: dict[str, np.ndarray] | None, fault: str = ""
    ) -> None:
        assert self.spec is not None and self._publisher is not None
        plan = job.plan
        if plan.step_id != self._newest and not self.lockstep:
            # A later tick is out: nobody waits for this answer, and to compute it would make the next one late as well.
            self.overtaken += 1
            return
        space: ActionSpace = getattr(source, "action_space", None) or self.spec.action_space
        start = time.time_ns()
        try:
            given = SourceAction(space.neutral(), fault=fault) if fault else source.act(observation, plan.segment, privileged)
        except (ValueError, KeyError) as error:
            given = SourceAction(space.neutral(), fault=f"{type(error).__name__}: {error}")
        end = time.time_ns()
        values, broken = space.clean(given.values)
        noise = EMPTY
        if given.noise is not None:
            noise, noisy = space.clean(given.noise)
            broken = broken or noisy
        fault = given.fault or broken
        if fault:
            values, noise = space.neutral(), EMPTY
        answer = Answer(
            plan.step_id, plan.episode_id, self.name, values, noise, action_space=space.name, action_space_hash=space.hash,
            request_end=given.request_end, bundle_id=source.bundle_id, digest=observation_digest(observation) if observation else "",
            fault=fault, stamp=plan.stamp,
            received=job.received, inference_start=start, inference_end=end,
        )
        self._publisher.publish(action_to_msg(answer))
        self._last = (plan.step_id, observation)
        self.answered += 1
        self.inference.append(1e-9 * (end - start))
        del self.inference[:-1000]
        if fault:
            self._report_fault(answer)

    def _report_fault(self, answer: Answer) -> None:
        self.faults += 1
        code = "nan" if "nan" in answer.fault.lower() else "source_fault"
        event = SafetyEvent(
            code=code, stage=f"action/{self.name}", outcome="clamped", episode_id=answer.episode_id, step_id=answer.step_id,
            message=f"{self.name}: {answer.fault}; zero action instead",
        )
        event.header.stamp = to_time(answer.stamp)
        self._events.publish(event)

    def statistics(self) -> dict[str, object]:
        """For diagnostics."""
        times = sorted(self.inference)
        return {
            "answered": self.answered, "given_up": self.given_up, "overtaken": self.overtaken, "faults": self.faults,
            "driving": self.driving,
            "inference_median_ms": f"{1e3 * times[len(times) // 2]:.3f}" if times else "",
            "inference_p99_ms": f"{1e3 * times[int(0.99 * (len(times) - 1))]:.3f}" if times else "",
        }
