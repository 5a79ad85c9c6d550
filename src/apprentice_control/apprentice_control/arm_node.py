"""The one process that moves the arm: safety chain, controller and backend, in lockstep with the tick or at 1 kHz of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from apprentice_control.arm_session import ArmSession
from apprentice_control.command_gate import CommandGate, Decision
from apprentice_control.realtime import CycleStatistics, LatestValue, LoopCall, RealtimeLoop
from apprentice_control.ros_arm_frames import FramePublisher
from apprentice_control.ros_arm_state import StatePublisher
from apprentice_control.ros_safety import SafetyPublisher
from apprentice_control.state_sample import ArmSample, SceneSample
from apprentice_core.cell_factory import choose_cameras, make_cell_spec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_to_json
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError, SafetyError
from apprentice_core.paths import data_dir
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import COMMAND, LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_core.urdf import hand
from apprentice_interfaces.msg import Action, EstopRequest, Tick, TickMissing
from apprentice_interfaces.srv import ResetScene

CALL_TIMEOUT = 10.0
"""s that a service waits for the loop; a scene reset takes a fraction of one (ours)"""

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("task", "lift", "task config: scene, objects, cameras, limits"),
    Param("pace", "lockstep", "lockstep waits for the tick (simulation only); realtime: by the clock", choices=("lockstep", "realtime")),
    Param("seed", 0, "seed of the first scene", bounds=(0, 2**31 - 1)),
    Param("cameras", "agent", "cameras of the cell spec: agent, all, none, or names with commas"),
    Param("state_folder", "", "e-stop latch and sim clock live here; empty: <data folder>/state/<cell>"),
    Param("state_rate", 100.0, "joint states, tool and wrench per second, Hz", bounds=(10.0, 1000.0)),
    Param("priority", -1, "SCHED_FIFO priority of the loop's thread at pace realtime; -1: one where permitted; 0: none", bounds=(-1, 99)),
    Param("scene_rate", 20.0, "scene snapshots per second at pace realtime, Hz", bounds=(1.0, 100.0)),
)


class ArmNode(ApprenticeNode):
    """A shell over ArmSession; in realtime the session belongs to the loop's thread, and all else goes through queues."""

    def __init__(self) -> None:
        super().__init__("arm_node", PARAMETERS)
        s = self.settings
        cell, task = load_cell(s["cell"]), load_task(s["task"])
        robot = load_robot(cell.robot)
        cameras = choose_cameras(cell, task, s["cameras"])
        folder = Path(s["state_folder"]) if s["state_folder"] else data_dir() / "state" / cell.name
        self._session = session = ArmSession(robot, cell, task, s["pace"], s["seed"], folder)
        self._lockstep = session.lockstep
        self._gate = CommandGate()
        self._action_publishers = 0
        self._describe, self._version = 1, -1
        self._newest: ArmSample | None = None
        self._shown = (0, "")
        self._lockstep_statistics = CycleStatistics(1000)
        self._every = max(1, round(1.0 / (s["state_rate"] * session.backend.period)))
        self._state = StatePublisher(self, robot, hand(robot).frame, s["state_rate"], session.scene, self._lockstep, self._scene_matched())
        self._safety = SafetyPublisher(self)
        assert session.limits.workspace is not None  # a robot profile without one is refused
        self._frames = FramePublisher(self, robot, {c: cell.cameras[c] for c in cell.cameras}, session.limits.workspace, self._now())
        objects = session.scene_sample(False).objects if session.scene else {}
        spec = make_cell_spec(robot, cell, task, cameras, tuple(objects), tuple(session.backend.capabilities))
        self._spec = self.create_publisher(String, CELL_SPEC_TOPIC, LATCHED)
        self._spec.publish(String(data=cell_spec_to_json(spec, robot)))
        self._tared = self.create_publisher(Header, "tared", SPINE)
        self._subscribe()
        self._safety.estop(session.estop)
        self._start()

    # -- wiring ------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        matched = SubscriptionEventCallbacks(matched=self._action_matched)
        self.create_subscription(Action, "action", self._on_action, COMMAND, event_callbacks=matched)
        self.create_subscription(Tick, "tick", self._on_tick, SPINE)
        self.create_subscription(TickMissing, "tick_missing", self._on_missing, SPINE)
        self.create_subscription(EstopRequest, "estop/request", self._on_estop, SPINE)
        self.create_service(Trigger, "reset_estop", self._on_reset_estop)
        self.create_service(Trigger, "tare", self._on_tare)
        if self._session.scene:
            self.create_service(ResetScene, "scene/reset", self._on_reset_scene)
        self.steady_timer(0.1, self._report_status)
        self.steady_timer(1.0, self._report_diagnostics)

    def _start(self) -> None:
        self._realtime: RealtimeLoop | None = None
        if self._lockstep:
            self._publish_full()
            return
        self._command: LatestValue[Decision] = LatestValue()
        self._calls: deque[LoopCall] = deque()
        self._out: deque[Callable[[], None]] = deque(maxlen=5000)
        self._cycles = 0
        self._pending: int | None = None
        self._scene_every = max(1, round(1.0 / (self.settings["scene_rate"] * self._session.backend.period)))
        self.steady_timer(1.0 / self.settings["state_rate"], self._drain)
        self._realtime = RealtimeLoop(
            self._session.backend.period, self._cycle, self._loop_failed, priority=self.settings["priority"],
        )
        self._realtime.start()

    def _now(self) -> Any:
        return to_time(self._session.now_ns())

    def _scene_matched(self) -> PublisherEventCallbacks:
        return PublisherEventCallbacks(matched=self._on_scene_matched)

    def _on_scene_matched(self, info: Any) -> None:
        # A mirror world that joins late needs the description; the next ones carry it too, should the first come too early.
        if info.current_count_change > 0:
            # Realtime: a reader of the newest only may miss some, so two seconds of them.
            self._describe = 3 if self._lockstep else round(2.0 * self.settings["scene_rate"])
            if self._lockstep:
                self._publish_scene()

    def _action_matched(self, info: Any) -> None:
        self._action_publishers = info.current_count
        if self._action_publishers > 1:
            message = f"{self._action_publishers} publishers on action: holding until one is left"
            self.get_logger().error(message)
            self._safety.event("two_publishers", "gate", "hold", message, self._session.now_ns())
            if not self._lockstep:
                self._command.put(Decision(0, "", None, "two_publishers"))

    # -- the tick ----------------------------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick) -> None:
        self._obey(self._gate.tick(tick.step_id, tick.episode_id, tick.final))

    def _on_action(self, action: Action) -> None:
        self._obey(self._gate.action(action))

    def _on_missing(self, missing: TickMissing) -> None:
        if missing.step_id == 0:
            self._describe = max(self._describe, 1)
        self._obey(self._gate.missing(missing.step_id, missing.reason or "missing"))

    def _obey(self, decision: Decision | None) -> None:
        if decision is None:
            return
        if decision.action is not None and self._action_publishers > 1:
            decision = Decision(decision.step_id, decision.episode_id, None, "two_publishers")
        if not self._lockstep:
            self._command.put(decision)
            return
        start = time.monotonic()
        self._hand_over(decision)
        # Published at the end: nobody may act before, and awake they would take the processor from the world.
        samples: list[ArmSample] = []
        record = self._session.run_period(self._every, samples.append)
        self._publish_full(samples)
        if decision.step_id and record is not None:
            self._safety.applied(record, self._session.now_ns())
        self._lockstep_statistics.add((time.monotonic() - start) / self._session.cycles, False)

    def _hand_over(self, decision: Decision) -> None:
        a = decision.action
        if a is None:
            self._session.loop.hold(decision.step_id, decision.reason, decision.episode_id)
        else:
            fault = self._session.submit(a.step_id, a.episode_id, a.source, a.action_space_hash, a.values)
            if fault:
                self._safety.event(
                    fault, "gate", "hold", f"{a.source}: action space {a.action_space!r} ({a.action_space_hash}) is not one of this arm",
                    self._session.now_ns(), a.episode_id, a.step_id,
                )

    def _publish_full(self, before: Sequence[ArmSample] = ()) -> None:
        """Everything as it is now, after the samples `before` it; the scene first, since drawing takes longest."""
        self._state.clock(self._session.now_ns())
        self._publish_scene()
        self._newest = sample = self._session.measure(tool=True)
        for s in (*before, sample):
            self._state.sample(s)
        self._publish_events()

    def _publish_scene(self) -> None:
        if self._session.scene:
            self._send_scene(self._session.scene_sample(self._description_due()))

    def _description_due(self) -> bool:
        return self._describe > 0 or self._session.backend.world.version != self._version

    def _send_scene(self, sample: SceneSample) -> None:
        if sample.description:
            self._describe, self._version = max(0, self._describe - 1), sample.version
        self._state.scene(sample)

    def _publish_events(self) -> None:
        for event in self._session.loop.drain_events():
            self._safety.loop_event(event, self._session.now_ns())

    # -- pace realtime: the loop's thread ----------------------------------------------------------------------------

    def _cycle(self) -> None:
        session, now = self._session, self._cycles
        while self._calls:
            self._calls.popleft().run()
        given = self._command.take()
        if given is not None:
            self._finish_pending()
            self._hand_over(given)
            self._pending = now + session.cycles if given.step_id else None
        session.cycle()
        self._cycles = now = now + 1
        if self._pending is not None and now >= self._pending:
            self._finish_pending()
        if now % self._every == 0:
            sample = session.measure(tool=True)
            self._newest = sample
            self._out.append(partial(self._state.sample, sample))
        if session.scene and now % self._scene_every == 0:
            scene = session.scene_sample(self._description_due())
            self._out.append(partial(self._send_scene, scene))
        for event in session.loop.drain_events():
            self._out.append(partial(self._safety.loop_event, event, session.now_ns()))

    def _finish_pending(self) -> None:
        if self._pending is not None:
            self._pending, record = None, self._session.loop.applied()
            if record is not None:
                self._out.append(partial(self._safety.applied, record, record.applied))

    def _drain(self) -> None:
        while self._out:
            self._out.popleft()()

    def _loop_failed(self, error: BaseException) -> None:
        self._session.backend.stop_commanding()
        self.get_logger().fatal(f"the control loop ended: {type(error).__name__}: {error}")
        self.request_stop(1)

    def _in_loop(self, function: Callable[[], None]) -> ApprenticeError | None:
        """Runs `function` where the loop runs, between two cycles, and waits for it; returns the ApprenticeError that it raised.

        Waiting here holds up only what is published; a coroutine that awaits would starve this executor of all else.
        """
        call = LoopCall(function)
        if self._realtime is None:
            call.run()
        else:
            self._calls.append(call)
            if not call.done.wait(CALL_TIMEOUT):
                return SafetyError(f"the control loop did not answer within {CALL_TIMEOUT:g} s")
        return call.error

    # -- services ----------------------------------------------------------------------------------------------------

    def _on_estop(self, request: EstopRequest) -> None:
        session, fresh = self._session, not self._session.estop.latched
        session.request_estop(request.reason, request.requested_by)
        if fresh:
            self.get_logger().error(f"emergency stop by {request.requested_by or 'unknown'}: {request.reason}")
            self._safety.estop(session.estop)

    def _on_reset_estop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        error = self._in_loop(self._session.reset_estop)
        response.success, response.message = error is None, str(error or "emergency stop cleared; the arm holds where it is")
        self._safety.estop(self._session.estop)
        return response

    def _on_tare(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        error = self._in_loop(self._session.tare)
        response.success, response.message = error is None, str(error or "force sensor zeroed")
        if error is None:
            header = Header(stamp=self._now(), frame_id=hand(self._session.robot).frame)
            self._tared.publish(header)
        return response

    def _on_reset_scene(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        if request.task and request.task != self._session.task.name:
            response.ok, response.message = False, f"this arm_node runs task {self._session.task.name!r}, not {request.task!r}"
            return response
        error = self._in_loop(lambda: self._reset_scene(request.initial_state, request.seed))
        response.ok, response.message = error is None, str(error or "")
        if error is None:
            response.description = self._session.backend.world.description()
            if self._lockstep:
                self._publish_full()
        return response

    def _reset_scene(self, initial_state: str, seed: int) -> None:
        self._session.reset_scene(initial_state, seed if seed >= 0 else None)
        if self._lockstep:
            # One period of standing still, so that what follows bears a later stamp than anything before.
            self._session.loop.hold(0, "scene_reset", "")
            self._session.run_period(self._session.cycles, lambda _: None)
        elif self._realtime is not None:
            self._realtime.rebase()

    # -- reports -----------------------------------------------------------------------------------------------------

    def _statistics(self) -> CycleStatistics:
        return self._lockstep_statistics if self._realtime is None else self._realtime.statistics

    def _report_status(self) -> None:
        session, loop = self._session, self._session.loop
        self._safety.status(loop, session.estop, self._statistics().summary(), session.now_ns())
        sample = self._newest
        if sample is not None and (sample.stamp, loop.state) != self._shown:
            stamp = to_time(sample.stamp)
            self._frames.update(sample.position, sample.gripper_position, stamp)
            if loop.state != self._shown[1]:
                self._frames.publish_markers(stamp, loop.state == "stopped")
            self._shown = (sample.stamp, loop.state)

    def _report_diagnostics(self) -> None:
        loop, timing = self._session.loop, self._statistics().summary()
        stopped = loop.state == "stopped"
        late = not self._lockstep and timing.overrun_fraction > 0.005
        level = 2 if stopped else 1 if late or self._action_publishers > 1 else 0
        self.diagnose("arm", level, loop.reason or loop.state, {
            "state": loop.state, "pace": self.settings["pace"], "publishers": self._action_publishers,
            "dropped_answers": self._gate.dropped,
            "cycles": timing.cycles, "cycle_median_ms": f"{1e3 * timing.median:.3f}", "cycle_p99_ms": f"{1e3 * timing.p99:.3f}",
            "overruns": timing.overruns, "overrun_fraction": f"{timing.overrun_fraction:.5f}", "skipped": timing.skipped,
            "scheduling": self._realtime.scheduling if self._realtime else "lockstep",
        })

    def close(self) -> None:
        if self._realtime is not None:
            self._realtime.stop()
        self._session.close()


def main() -> None:
    run_node(ArmNode)


if __name__ == "__main__":
    main()
