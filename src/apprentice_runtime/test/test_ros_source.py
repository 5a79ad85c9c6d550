"""A source that does not drive sleeps through the ticks of others, and misses none of its own."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import rclpy
from std_msgs.msg import String

from apprentice_core.cell import SourceAction
from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_to_json
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.episode import Segment
from apprentice_core.ros_executor import LeanExecutor
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_interfaces.msg import Action, EpisodeEvent, Tick
from apprentice_runtime.ros_convert import event_to_msg, tick_to_msg
from apprentice_runtime.ros_source import SourceShell
from apprentice_runtime.tick import EventData, TickPlan


class Still:
    name, bundle_id, needs_privileged = "still", "", False

    def reset(self, context: object) -> None: ...

    def observe(self, observation: object, executed: np.ndarray) -> None: ...

    def act(self, observation: object, segment: Segment, privileged: object = None) -> SourceAction:
        return SourceAction(np.zeros(7, dtype=np.float32))


@pytest.fixture
def node() -> Iterator[ApprenticeNode]:
    context = rclpy.Context()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(context=context, domain_id=random.SystemRandom().randint(50, 100))
    previous, rclpy.utilities.g_default_context = rclpy.utilities.g_default_context, context
    made = ApprenticeNode("still")
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)
    rclpy.utilities.g_default_context = previous


def _tick(step_id: int, episode: str, source: str, final: bool = False) -> Tick:
    return tick_to_msg(TickPlan(1, 2, episode, step_id, 0, final, (source,), (), Segment(), (), ()))


def _event(kind: str, episode: str, source: str) -> EpisodeEvent:
    return event_to_msg(EventData(kind, 1, episode, "episode", "lift", source))


def test_ticks_of_others_wake_nobody_and_an_early_one_is_answered(node: ApprenticeNode) -> None:
    executor = LeanExecutor()
    executor.add_node(node)
    robot, cell, task = load_robot("sawyer"), load_cell("sawyer_lift"), load_task("lift")
    shell = SourceShell(node, "still", lambda spec: Still(), lockstep=True)  # type: ignore[arg-type,return-value]
    spec = node.create_publisher(String, CELL_SPEC_TOPIC, LATCHED)
    ticks, events = node.create_publisher(Tick, "tick", SPINE), node.create_publisher(EpisodeEvent, "episode/event", SPINE)
    answers: list[int] = []
    node.create_subscription(Action, "action/still", lambda m: answers.append(m.step_id), SPINE)
    spec.publish(String(data=cell_spec_to_json(make_cell_spec(robot, cell, task, (), (), ()), robot)))

    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10.0
        while not condition():
            assert time.monotonic() < end, "did not come true"
            executor.turn(0.05)

    try:
        until(lambda: shell.source is not None and node.count_publishers("action/still") == 1)
        until(lambda: ticks.get_subscription_count() == events.get_subscription_count() == 1)
        for k in range(1, 30):
            ticks.publish(_tick(k, "theirs", "expert"))
        ticks.publish(_tick(30, "ours", "still"))
        for _ in range(10):
            executor.turn(0.02)
        assert not answers and shell._newest == 0, "nobody was woken"
        events.publish(_event("start", "ours", "still"))
        until(lambda: answers == [30])
        ticks.publish(_tick(31, "ours", "still"))
        until(lambda: answers == [30, 31])
        events.publish(_event("end", "ours", "still"))
        until(lambda: not shell.driving)
        ticks.publish(_tick(32, "ours", "still"))
        for _ in range(10):
            executor.turn(0.02)
        assert answers == [30, 31]
    finally:
        shell.close()
        executor.remove_node(node)
        executor.shutdown()
