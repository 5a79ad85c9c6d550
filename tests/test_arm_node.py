"""arm_node as a process: what it obeys, what it refuses, what outlives it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice_core.cell_spec import cell_spec_from_json
from apprentice_core.ros_qos import COMMAND, LATCHED, SPINE, sensor_subscriber
from apprentice_core.streams import stamp_ns
from apprentice_interfaces.msg import Action, Applied, EstopRequest, EstopState, SafetyEvent, SafetyStatus, Tick, TickMissing

ACTIONS = [np.array([0.5 * np.sin(k / 3), 0.4, -0.3, 0, 0, 0.2, 1.0 if k > 5 else -1.0], dtype=np.float32) for k in range(10)]


class Client:
    """Plays episode node and mux for one arm_node."""

    def __init__(self, domain: int):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("test_client", namespace="/cell", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.got: dict[str, list[Any]] = {}
        self.spec: Any = None
        for topic, kind, qos in (
            ("applied", Applied, SPINE), ("safety/event", SafetyEvent, SPINE), ("safety/status", SafetyStatus, SPINE),
            ("estop/state", EstopState, LATCHED), ("joint_states", JointState, sensor_subscriber(True)), ("cell_spec", String, LATCHED),
        ):
            self.got[topic] = []
            self.node.create_subscription(kind, topic, self.got[topic].append, qos)
        self.tick = self.node.create_publisher(Tick, "tick", SPINE)
        self.missing = self.node.create_publisher(TickMissing, "tick_missing", SPINE)
        self.action = self.node.create_publisher(Action, "action", COMMAND)
        self.estop = self.node.create_publisher(EstopRequest, "estop/request", SPINE)
        self.step = time.time_ns()

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            self.executor.spin_once(timeout_sec=0.05)
        raise AssertionError(f"{what}: not within {timeout:g} s")

    def connect(self) -> None:
        publishers = (self.tick, self.missing, self.action, self.estop)
        self.until(lambda: self.got["cell_spec"] and all(p.get_subscription_count() == 1 for p in publishers), "arm_node found", 40.0)
        count = self.node.count_publishers
        self.until(lambda: count("/cell/applied") == 1 and count("/cell/joint_states") == 1, "arm_node's publishers")
        self.spec = cell_spec_from_json(self.got["cell_spec"][-1].data)[0]

    def send(self, values: np.ndarray) -> Applied:
        """One step: tick and action, then what was applied."""
        self.step += 1
        space = self.spec.action_space
        self.tick.publish(Tick(step_id=self.step, episode_id="e"))
        self.action.publish(Action(
            step_id=self.step, episode_id="e", source="test", action_space=space.name, action_space_hash=space.hash, values=values.tolist(),
        ))
        return self.applied()

    def applied(self) -> Applied:
        return self.until(lambda: next((a for a in self.got["applied"] if a.step_id == self.step), None), "applied")

    def call(self, name: str) -> Trigger.Response:
        client = self.node.create_client(Trigger, name)
        self.until(client.service_is_ready, name)
        future = client.call_async(Trigger.Request())
        return self.until(lambda: future.result() if future.done() else None, name)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def client(processes: Any) -> Iterator[Client]:
    c = Client(processes.domain)
    yield c
    c.close()


def _arm(processes: Any, **parameters: Any) -> Any:
    return processes.start("arm_node", **{"task": "lift_demo", "cameras": "none", "state_folder": processes.folder / "state", **parameters})


def test_lockstep_is_deterministic_and_ends_cleanly(processes: Any, client: Client) -> None:
    """The same seed and actions give bit-equal joint states as in this process, through all of DDS."""
    from apprentice_control.arm_session import ArmSession
    from apprentice_core.config import load_cell, load_robot, load_task

    session = ArmSession(load_robot("sawyer"), load_cell("sawyer_lift"), load_task("lift_demo"), "lockstep", 3, processes.folder / "other")
    arm = _arm(processes, seed=3)
    client.connect()
    space = client.spec.action_space
    for k, values in enumerate(ACTIONS):
        applied = client.send(values)
        assert applied.outcome == "applied"
        session.submit(k + 1, "e", "test", space.hash, values)
        observed: list[Any] = []
        session.run_period(10, lambda _: None, session.next_delay(), lambda o=observed: o.append(session.measure(tool=False)))
        stamp = stamp_ns(applied.header.stamp)
        state = client.until(
            lambda t=stamp: next((m for m in client.got["joint_states"] if stamp_ns(m.header.stamp) == t), None), "joint states at t_k+1",
        )
        [expected] = observed
        np.testing.assert_array_equal(np.array(state.position), expected.position)
        np.testing.assert_array_equal(np.array(state.velocity), expected.velocity)
    stamps = [stamp_ns(m.header.stamp) for m in client.got["joint_states"]]
    assert np.median(np.diff(stamps)) == 10_000_000 and min(np.diff(stamps)) > 0, "joint states come at 100 Hz of sim time"
    session.close()
    arm.signal(signal.SIGINT)
    assert arm.wait() == 0


def test_old_answers_are_dropped_and_a_missing_one_is_a_hold(processes: Any, client: Client) -> None:
    _arm(processes)
    client.connect()
    client.send(ACTIONS[0])
    count = len(client.got["applied"])
    client.action.publish(Action(step_id=client.step, episode_id="e", source="late"))
    client.step += 1
    client.tick.publish(Tick(step_id=client.step, episode_id="e"))
    client.missing.publish(TickMissing(step_id=client.step, sources=["test"], reason="timeout"))
    held = client.applied()
    assert held.outcome == "hold" and len(client.got["applied"]) == count + 1
    assert client.send(ACTIONS[1]).outcome == "applied"


def test_an_unknown_action_space_is_held(processes: Any, client: Client) -> None:
    _arm(processes)
    client.connect()
    client.step += 1
    client.tick.publish(Tick(step_id=client.step, episode_id="e"))
    client.action.publish(Action(step_id=client.step, episode_id="e", source="x", action_space_hash="00", values=[1.0]))
    assert client.applied().outcome == "hold"
    client.until(lambda: any(e.code == "action_space" for e in client.got["safety/event"]), "event action_space")


def test_two_publishers_on_action_mean_hold(processes: Any, client: Client) -> None:
    _arm(processes)
    client.connect()
    assert client.send(ACTIONS[0]).outcome == "applied"
    second = client.node.create_publisher(Action, "action", COMMAND)
    client.until(lambda: any(e.code == "two_publishers" for e in client.got["safety/event"]), "event two_publishers")
    held = client.send(ACTIONS[1])
    assert (held.outcome, held.reason) == ("hold", "two_publishers")
    client.node.destroy_publisher(second)
    client.until(lambda: client.send(ACTIONS[2]).outcome == "applied", "going on with one publisher")


def test_estop_outlives_kill_and_only_reset_clears_it(processes: Any, client: Client) -> None:
    arm = _arm(processes)
    client.connect()
    first = client.send(ACTIONS[0])
    client.estop.publish(EstopRequest(reason="hand in the cell", requested_by="test"))
    client.until(lambda: any(s.latched for s in client.got["estop/state"]), "latched")
    assert client.send(ACTIONS[1]).outcome == "stop"
    refused = client.call("reset_estop")
    assert not refused.success and "still there" in refused.message
    arm.signal(signal.SIGKILL)
    arm.wait()
    client.until(lambda: client.tick.get_subscription_count() == 0, "arm_node gone", 30.0)
    client.got["estop/state"].clear()
    _arm(processes)
    client.connect()
    state = client.until(lambda: client.got["estop/state"], "e-stop state of the new process")[-1]
    assert state.latched and state.reason == "hand in the cell"
    stopped = client.send(ACTIONS[2])
    assert stopped.outcome == "stop"
    assert stamp_ns(stopped.header.stamp) > stamp_ns(first.header.stamp), "sim time goes on over a restart"
    assert client.call("reset_estop").success
    assert client.send(ACTIONS[3]).outcome == "applied"


def test_realtime_runs_at_1_khz_and_reports_overruns(processes: Any, client: Client) -> None:
    arm = _arm(processes, pace="realtime")
    client.connect()
    assert client.send(ACTIONS[0]).outcome == "applied"
    client.until(lambda: any(s.reason == "command_timeout" for s in client.got["safety/status"]), "hold by the watchdog")
    client.got["joint_states"].clear()
    began = time.monotonic()
    client.until(lambda: len(client.got["joint_states"]) >= 150, "joint states")
    assert time.monotonic() - began < 6.0, "100 Hz by the wall clock, with room for a busy machine"
    status = client.until(lambda: client.got["safety/status"][-1], "status")
    assert 0.0 < status.loop_median < 0.001 and 0.0 <= status.overrun_fraction <= 1.0
    assert client.call("tare").success
    second = client.node.create_publisher(Action, "action", COMMAND)
    client.until(lambda: client.got["safety/status"][-1].reason == "two_publishers", "hold while two publish")
    client.node.destroy_publisher(second)
    client.estop.publish(EstopRequest(reason="test", requested_by="test"))
    client.until(lambda: client.got["safety/status"][-1].state == "stopped", "stopped")
    arm.signal(signal.SIGTERM)
    assert arm.wait() == 0


def test_realtime_arm_and_loop_end_with_each_other(processes: Any, client: Client) -> None:
    def start() -> tuple[Any, psutil.Process]:
        arm = _arm(processes, pace="realtime")
        client.connect()
        assert client.send(ACTIONS[0]).outcome == "applied"
        (loop,) = psutil.Process(arm.pid).children()
        return arm, loop

    arm, loop = start()
    loop.kill()
    assert arm.wait() == 1 and "the arm is lost: the control loop has ended" in arm.text and "Traceback" not in arm.text
    client.until(lambda: client.tick.get_subscription_count() == 0, "arm_node gone", 30.0)
    client.got["cell_spec"].clear()
    arm, loop = start()
    # As Ctrl-C in a terminal does: to both.
    loop.send_signal(signal.SIGINT)
    arm.signal(signal.SIGINT)
    assert arm.wait() == 0 and not loop.is_running()
    assert "Traceback" not in arm.text


@pytest.mark.parametrize(("parameter", "value", "says"), [
    ("sped", 3, "unknown parameter 'sped'"), ("seed", "many", "'seed'"), ("seed", -4, "'seed'"), ("pace", "walking", "'pace'"),
    ("cell", "nowhere", "nowhere"), ("cameras", "ceiling", "ceiling"),
])
def test_a_wrong_parameter_is_refused_by_name(processes: Any, parameter: str, value: Any, says: str) -> None:
    arm = _arm(processes, **{parameter: value})
    assert arm.wait() == 2
    assert says in arm.text and "Traceback" not in arm.text


def test_a_second_arm_node_on_one_cell_is_refused(processes: Any, client: Client) -> None:
    _arm(processes)
    client.connect()
    second = processes.start("arm_node", "second", task="lift_demo", cameras="none", state_folder=processes.folder / "state")
    assert second.wait() == 2
    assert "another arm_node" in second.text
