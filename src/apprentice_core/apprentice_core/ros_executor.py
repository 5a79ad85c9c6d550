"""A single-threaded executor that wakes cheaply.

The stock executor builds a wait set and a task for every callback: some 10 us for each entity of a node at each wake, half a
millisecond for a node of ours. This one keeps its wait set, calls subscriptions and timers directly, and leaves everything else
(services, actions, events, coroutines) to the stock code that it inherits, whenever such a thing is ready. The events that rclpy adds to
every publisher and subscription of its own accord, two or three each, only warn; they are not waited for but looked at now and then.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

from rclpy.event_handler import EventHandler
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription
from rclpy.timer import Timer

REFRESH = 0.5
"""entities are looked through anew so often even when their number is the same, s (ours)"""
RECOUNT = 0.25
"""entities are counted so often, s; whoever makes or destroys one wakes the executor, which counts them at once (ours)"""
OTHERS = 1.0
"""the stock code is given a turn so often in any case, s (ours): for events that only warn, and for coroutines; who ends the waiting of one
calls `wake`, and need not wait"""
PASSES = 5
"""of the stock code at a turn, as long as each makes new tasks (ours)"""
BURST = 20
"""messages of one subscription taken at a wake before the others have their turn (ours)"""


def _only_warns(waitable: Any) -> bool:
    """An event that rclpy handles for want of a callback of the user's."""
    return isinstance(waitable, EventHandler) and getattr(waitable.callback, "__module__", "") == EventHandler.__module__


class LeanExecutor(SingleThreadedExecutor):
    """`turn` waits once and does all that is ready. For one thread; a callback group with `polled = True` is left out of the wait."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: tuple[int, ...] = ()
        self._looked = self._built = 0.0
        self._others_at = 0.0
        self._waits: Any = None
        self._subscriptions: dict[int, Subscription] = {}
        self._timers: dict[int, Timer] = {}
        self._slow: list[tuple[str, Any]] = []
        self._waitables: list[Any] = []

    def refresh(self) -> None:
        """A callback group's `polled` has changed: the wait set is built anew before the next wait."""
        self._counts = ()

    def turn(self, timeout: float) -> None:
        """Waits up to `timeout` seconds; ExternalShutdownException when the context was shut down."""
        now = time.monotonic()
        self._look(now)
        if now - self._others_at >= OTHERS:
            self._do_others(now)
        try:
            self._add_all(self._waits)
        except (_rclpy.InvalidHandle, _rclpy.RCLError):
            # An entity was destroyed since they were counted; with the new list there is no excuse.
            self._counts = ()
            self._look(now)
            self._add_all(self._waits)
        waits = self._waits
        waits.wait(int(min(timeout, OTHERS) * 1e9))
        if not self._context.ok():
            raise ExternalShutdownException()
        others = self._others_ready(waits)
        for pointer in waits.get_ready_entities("timer"):
            timer = self._timers.get(pointer)
            if timer is not None and timer.handle.is_timer_ready():
                timer.handle.call_timer()
                timer.callback()
        for pointer in waits.get_ready_entities("subscription"):
            subscription = self._subscriptions.get(pointer)
            if subscription is None:
                others = True
            else:
                self._receive(subscription)
        if others:
            self._do_others(time.monotonic())

    @staticmethod
    def _receive(subscription: Subscription) -> None:
        handle, kind, raw = subscription.handle, subscription.msg_type, subscription.raw
        plain = subscription._callback_type is Subscription.CallbackType.MessageOnly
        for _ in range(BURST):
            taken = handle.take_message(kind, raw)
            if taken is None:
                return
            if plain:
                subscription.callback(taken[0])
            else:
                subscription.callback(*taken)

    def _do_others(self, now: float) -> None:
        self._others_at = now
        for _ in range(PASSES):
            before = {id(task) for task, *_ in self._tasks}
            self._pass()
            # What comes of it (an action's result is sent by a task that the end of its coroutine makes) need not wait for the next turn.
            if all(id(task) in before for task, *_ in self._tasks):
                return

    def _pass(self) -> None:
        # One whole pass of the stock generator: left half-way, it would meet indices that the next wait has changed.
        try:
            for handler, _, _ in self._wait_for_ready_callbacks(timeout_sec=0):
                handler()
                error = handler.exception()
                if error is not None:
                    raise error
        except TimeoutException:
            return

    def _look(self, now: float) -> None:
        """Builds the wait set when entities came or went."""
        if self._counts and now - self._looked < RECOUNT:
            return
        nodes = self.get_nodes()
        counts = self._count(nodes)
        if counts == self._counts and now - self._built < REFRESH:
            self._looked = now
            return
        self._looked, self._built, self._counts = now, now, counts
        groups = [
            (list(n.subscriptions), list(n.timers), list(n.clients), list(n.services), list(n.guards), list(n.waitables)) for n in nodes
        ]
        subscriptions = [s for g in groups for s in g[0] if not getattr(s.callback_group, "polled", False)]
        timers = [t for g in groups for t in g[1]]
        self._slow = [
            *(("subscription", s) for s in subscriptions if inspect.iscoroutinefunction(s.callback)),
            *(("timer", t) for t in timers if inspect.iscoroutinefunction(t.callback)),
            *((kind, e) for g in groups for kind, column in (("client", 2), ("service", 3), ("guard_condition", 4)) for e in g[column]),
            ("guard_condition", self._guard), ("guard_condition", self._sigint_gc),
        ]
        slow = {id(e) for _, e in self._slow}
        self._subscriptions = {s.handle.pointer: s for s in subscriptions if id(s) not in slow}
        self._timers = {t.handle.pointer: t for t in timers if id(t) not in slow}
        self._waitables = [w for g in groups for w in g[5] if not getattr(w.callback_group, "polled", False) and not _only_warns(w)]
        size = [0, 0, 0, 0, 0, 0]
        for w in self._waitables:
            n = w.get_num_entities()
            more = (n.num_subscriptions, n.num_guard_conditions, n.num_timers, n.num_clients, n.num_services, n.num_events)
            size = [a + b for a, b in zip(size, more, strict=True)]
        kinds = [k for k, _ in self._slow]
        self._waits = _rclpy.WaitSet(
            size[0] + len(subscriptions), size[1] + kinds.count("guard_condition"), size[2] + len(timers), size[3] + kinds.count("client"),
            size[4] + kinds.count("service"), size[5], self._context.handle,
        )

    @staticmethod
    def _count(nodes: list[Any]) -> tuple[int, ...]:
        kinds = ("subscriptions", "timers", "clients", "services", "guards", "waitables")
        return tuple(sum(1 for _ in getattr(n, kind)) for n in nodes for kind in kinds)

    def _add_all(self, waits: Any) -> None:
        waits.clear_entities()
        for s in self._subscriptions.values():
            waits.add_subscription(s.handle)
        for t in self._timers.values():
            # A cancelled timer that is due would end every wait at once.
            if not t.handle.is_timer_canceled():
                waits.add_timer(t.handle)
        for kind, entity in self._slow:
            getattr(waits, f"add_{kind}")(entity.handle)
        for w in self._waitables:
            w.add_to_wait_set(waits)

    def _others_ready(self, waits: Any) -> bool:
        if waits.get_ready_entities("client") or waits.get_ready_entities("service"):
            return True
        guards = waits.get_ready_entities("guard_condition")
        if guards:
            self._counts = ()
            # The wait has taken the trigger: it is given again, for the stock code to find.
            for kind, entity in self._slow:
                if kind == "guard_condition" and entity.handle.pointer in guards:
                    entity.trigger()
            return True
        return any(w.is_ready(waits) for w in self._waitables)
