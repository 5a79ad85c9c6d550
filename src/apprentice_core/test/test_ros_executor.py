"""The lean executor does what the stock one does, without turning when there is nothing to do."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.service import Service
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice_core import ros_answers, ros_executor
from apprentice_core.ros_executor import LeanExecutor
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_polled import PolledGroup, set_awake, take_raw


@pytest.fixture
def node() -> Iterator[ApprenticeNode]:
    context = rclpy.Context()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(context=context, domain_id=random.SystemRandom().randint(50, 100))
    previous, rclpy.utilities.g_default_context = rclpy.utilities.g_default_context, context
    made = ApprenticeNode("lean")
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)
    rclpy.utilities.g_default_context = previous


def turn_until(executor: LeanExecutor, condition, limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "did not come true"
        executor.turn(0.05)


@pytest.fixture
def executor(node: ApprenticeNode) -> Iterator[LeanExecutor]:
    made = LeanExecutor()
    made.add_node(node)
    yield made
    made.remove_node(node)
    made.shutdown()


def test_messages_arrive_in_order_with_and_without_their_info(node, executor):
    plain, informed, raw = [], [], []
    node.create_subscription(String, "x", lambda m: plain.append(m.data), 100)
    node.create_subscription(String, "x", lambda m, info: informed.append((m.data, info["source_timestamp"] > 0)), 100)
    node.create_subscription(String, "x", raw.append, 100, raw=True)
    publisher = node.create_publisher(String, "x", 100)
    turn_until(executor, lambda: publisher.get_subscription_count() == 3)
    for i in range(50):
        publisher.publish(String(data=str(i)))
    turn_until(executor, lambda: len(plain) == len(informed) == len(raw) == 50)
    assert plain == [str(i) for i in range(50)] and informed == [(str(i), True) for i in range(50)] and isinstance(raw[0], bytes)


def test_timers_come_at_their_rate_and_a_cancelled_one_costs_nothing(node, executor):
    hits = [0]

    def hit() -> None:
        hits[0] += 1

    timer = node.steady_timer(0.002, hit)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        executor.turn(0.1)
    assert 50 < hits[0] <= 260
    timer.cancel()
    turns, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        executor.turn(0.1)
        turns += 1
    assert turns < 40, "it waits when there is nothing to do"
    hits[0] = 0
    timer.reset()
    turn_until(executor, lambda: hits[0] > 3)


def test_a_service_that_waits_for_another_thread_blocks_nobody(node, executor):
    release, ticks = threading.Event(), [0]

    async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        future = Future(executor=executor)

        def work() -> None:
            release.wait(10.0)
            future.set_result("done")

        threading.Thread(target=work).start()
        response.message = await future
        response.success = True
        return response

    def tick() -> None:
        ticks[0] += 1

    node.create_service(Trigger, "slow", answer)
    client = node.create_client(Trigger, "slow")
    turn_until(executor, client.service_is_ready)
    future = client.call_async(Trigger.Request())
    node.steady_timer(0.005, tick)
    turn_until(executor, lambda: ticks[0] > 20)
    assert not future.done()
    release.set()
    turn_until(executor, future.done)
    assert future.result().success and future.result().message == "done"


def test_entities_may_come_and_go_while_it_turns(node, executor):
    publisher, got = node.create_publisher(String, "y", 10), []
    for i in range(3):
        subscription = node.create_subscription(String, "y", lambda m, i=i: got.append((i, m.data)), 10)
        turn_until(executor, lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="a"))
        turn_until(executor, lambda i=i: len(got) == i + 1)
        node.destroy_subscription(subscription)
        executor.turn(0.0)
        turn_until(executor, lambda: publisher.get_subscription_count() == 0)
    assert got == [(0, "a"), (1, "a"), (2, "a")]


def test_an_error_in_a_callback_is_not_swallowed(node, executor):
    def broken() -> None:
        raise KeyError("broken")

    node.steady_timer(0.01, broken)
    with pytest.raises(KeyError, match="broken"):
        turn_until(executor, lambda: False)


def test_a_polled_subscription_wakes_nobody_until_it_is_told_to(node, executor):
    group, got = PolledGroup(), []
    subscription = node.create_subscription(String, "x", lambda m: got.append(m.data), 100, callback_group=group)
    publisher = node.create_publisher(String, "x", 100)
    turn_until(executor, lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="first"))
    for _ in range(5):
        executor.turn(0.02)
    assert not got and take_raw(subscription) is not None
    publisher.publish(String(data="second"))
    set_awake(node, group, True)
    turn_until(executor, lambda: got == ["second"])
    set_awake(node, group, False)
    publisher.publish(String(data="third"))
    for _ in range(5):
        executor.turn(0.02)
    assert got == ["second"]


def test_who_stands_back_does_so_with_every_thread(node):
    def policies() -> set[int]:
        return {os.sched_getscheduler(int(t)) for t in os.listdir("/proc/self/task")}

    before = policies()
    try:
        node.stand_back()
        assert policies() == {os.SCHED_BATCH} and len(os.listdir("/proc/self/task")) > 1
    finally:
        node.stand_back(False)
    assert policies() == before == {os.SCHED_OTHER}


def test_at_lockstep_all_stand_back_but_who_interrupts(node):
    from apprentice_core.ros_node import ApprenticeNode, Param

    pace = (Param("pace", "lockstep", "pace", choices=("lockstep", "realtime")),)

    class Keen(ApprenticeNode):
        interrupts = True

    made = []
    try:
        made.append(Keen("keen", pace))
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        made.append(ApprenticeNode("patient", pace))
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        node.stand_back(False)
        for each in made:
            each.destroy_node()


def test_a_task_that_a_task_makes_need_not_wait_for_a_later_turn(node):
    """As an action's result, which is sent by a task that the end of its coroutine makes."""
    executor, done = LeanExecutor(), []
    executor.add_node(node)

    async def first() -> None:
        executor.create_task(lambda: done.append("second"))
        done.append("first")

    try:
        executor.turn(0.0)
        executor.create_task(first)
        executor.turn(0.0)
        assert done == ["first", "second"]
    finally:
        executor.remove_node(node)
        executor.shutdown()


def trigger(node: ApprenticeNode, reliability: ReliabilityPolicy) -> list[str]:
    """A service `ask` whose answers have this reliability; what it was asked is noted in the list."""
    asked: list[str] = []

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked.append("asked")
        response.success = True
        return response

    node.create_service(Trigger, "ask", answer, qos_profile=QoSProfile(depth=10, reliability=reliability))
    return asked


def test_an_answer_that_its_client_cannot_hear_yet_is_sent_again(node, executor, monkeypatch):
    send, deaf = Service.send_response, [True, True]

    def unheard(service: Service, response: object, header: object) -> None:
        if deaf:
            deaf.pop()
            raise SystemError("returned a result with an exception set") from RuntimeWarning("failed to send response (timeout)")
        send(service, response, header)

    monkeypatch.setattr(Service, "send_response", unheard)
    asked = trigger(node, ReliabilityPolicy.RELIABLE)
    timers = len(list(node.timers))
    client = node.create_client(Trigger, "ask")
    turn_until(executor, client.service_is_ready)
    future = client.call_async(Trigger.Request())
    turn_until(executor, future.done)
    assert future.result().success and asked == ["asked"] and not deaf and len(list(node.timers)) == timers


def test_who_can_never_be_answered_costs_a_line_of_the_log(node, executor, monkeypatch):
    """The service's answers are best effort and its client asks for reliable ones: the two never meet, as for a while in discovery."""
    monkeypatch.setattr(ros_answers, "GIVE_UP", 0.5)
    asked, timers = trigger(node, ReliabilityPolicy.BEST_EFFORT), len(list(node.timers))
    errors: list[str] = []
    monkeypatch.setattr(type(node.get_logger()), "error", lambda _, line, **__: errors.append(line))
    client = node.create_client(Trigger, "ask")
    turn_until(executor, lambda: node.count_services("ask") == 1)
    future = client.call_async(Trigger.Request())
    turn_until(executor, lambda: bool(errors))
    assert asked == ["asked"] and not future.done()
    assert "ask: who asked could not be answered within 0.5 s" in errors[0]
    assert len(list(node.timers)) == timers


def test_events_that_only_warn_are_not_waited_for_and_still_told(node, executor, monkeypatch):
    warned: list[str] = []
    monkeypatch.setattr(type(node.get_logger()), "warn", lambda _, line, **__: warned.append(line))
    node.create_subscription(String, "picky", print, QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
    node.create_publisher(String, "picky", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    turn_until(executor, lambda: any("incompatible QoS" in line for line in warned))
    assert executor._waitables == [], "rclpy gives each of them two or three events"


def test_an_event_with_a_callback_wakes_at_once(node, executor):
    told: list[int] = []
    events = SubscriptionEventCallbacks(matched=lambda info: told.append(info.current_count))
    node.create_subscription(String, "met", print, 1, event_callbacks=events)
    executor.turn(0.0)
    node.create_publisher(String, "met", 1)
    start = time.monotonic()
    turn_until(executor, lambda: told == [1])
    assert len(executor._waitables) == 1 and time.monotonic() - start < ros_executor.OTHERS
