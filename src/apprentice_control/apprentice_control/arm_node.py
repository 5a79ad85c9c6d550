"""The one node that moves the arm: safety chain, controller and backend, in lockstep with the tick or, in a process beside, at 1 kHz."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from apprentice_control.arm_command import AppliedRecord
from apprentice_control.arm_link import ArmLink
from apprentice_control.arm_session import ArmSession
from apprentice_control.command_gate import CommandGate, Decision
from apprentice_control.disturbance import Disturbance
from apprentice_control.loop_messages import ArmOrder, LoopEvent
from apprentice_control.loop_process import LoopOptions
from apprentice_control.realtime import CycleStatistics, take_priority
from apprentice_control.ros_arm_frames import FramePublisher
from apprentice_control.ros_arm_state import StatePublisher
from apprentice_control.ros_safety import SafetyPublisher
from apprentice_control.state_sample import ArmSample, SceneSample
from apprentice_core.cdr import tick_head
from apprentice_core.cell_factory import choose_cameras, effective_limits, make_cell_spec
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

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("task", "lift", "task config: scene, objects, cameras, limits"),
    Param("pace", "lockstep", "lockstep waits for the tick (simulation only); realtime: by the clock", choices=("lockstep", "realtime")),
    Param("seed", 0, "seed of the first scene", bounds=(0, 2**31 - 1)),
    Param("cameras", "agent", "cameras of the cell spec: agent, all, none, or names with commas"),
    Param("state_folder", "", "e-stop latch and sim clock live here; empty: <data folder>/state/<cell>"),
    Param("state_rate", 100.0, "joint states, tool and wrench per second, Hz", bounds=(10.0, 1000.0)),
    Param(
        "priority", -1, "SCHED_FIFO priority of the loop at pace realtime, the node's is one below; -1: if permitted; 0: none",
        bounds=(-1, 99),
    ),
    Param("disturbance_mean", 0.0, "control noise added to every command of the task, in simulation at pace lockstep", bounds=(-1.0, 1.0)),
    Param("disturbance_sigma", 0.0, "its standard deviation, in [-1, 1] units as the mean", bounds=(0.0, 1.0)),
    Param("disturbance_axes", "all", "on every axis or on the first alone", choices=("all", "x")),
    Param("scene_rate", 20.0, "scene snapshots per second at pace realtime, Hz", bounds=(1.0, 100.0)),
)


class ArmNode(ApprenticeNode):
    """A shell over ArmSession: in lockstep its own, in realtime that of the loop's process, through ArmLink."""

    interrupts = True

    def __init__(self) -> None:
        super().__init__("arm_node", PARAMETERS)
        s = self.settings
        cell, task = load_cell(s["cell"]), load_task(s["task"])
        self._robot = robot = load_robot(cell.robot)
        self._task = task.name
        cameras = choose_cameras(cell, task, s["cameras"])
        workspace = effective_limits(robot, cell, task).workspace
        assert workspace is not None  # a robot profile without one is refused
        folder = Path(s["state_folder"]) if s["state_folder"] else data_dir() / "state" / cell.name
        self._session: ArmSession | None = None
        self._link: ArmLink | None = None
        self._arm: ArmSession | ArmLink
        if s["pace"] == "lockstep":
            noise = Disturbance(task.action, s["disturbance_mean"], s["disturbance_sigma"], s["disturbance_axes"], s["seed"])
            self._arm = self._session = ArmSession(
                robot, cell, task, s["pace"], s["seed"], folder, noise if noise.mean or noise.sigma else None
            )
        elif s["disturbance_mean"] or s["disturbance_sigma"]:
            raise SafetyError("parameter disturbance_mean, disturbance_sigma: control noise is for simulation at pace lockstep only")
        else:
            options = LoopOptions(s["cell"], s["task"], s["seed"], str(folder), s["state_rate"], s["scene_rate"], s["priority"])
            self._arm = self._link = ArmLink(robot, options)
        self._statistics = CycleStatistics(1000) if self._link is None else self._link.statistics
        self._gate = CommandGate()
        self._action_publishers = 0
        self._describe, self._version, self._description = 1, -1, ""
        self._newest: ArmSample | None = None
        self._samples: list[ArmSample] = []
        self._observed = 0
        self._shown = (0, "")
        facts = self._arm.facts
        self._every = max(1, round(1.0 / (s["state_rate"] * facts.period)))
        lockstep = self._session is not None
        self._state = StatePublisher(self, robot, hand(robot).frame, s["state_rate"], self._arm.scene, lockstep, self._scene_matched())
        self._safety = SafetyPublisher(self)
        self._frames = FramePublisher(self, robot, {c: cell.cameras[c] for c in cell.cameras}, workspace, self._now())
        spec = make_cell_spec(robot, cell, task, cameras, facts.objects, facts.capabilities)
        self._spec = self.create_publisher(String, CELL_SPEC_TOPIC, LATCHED)
        self._spec.publish(String(data=cell_spec_to_json(spec, robot)))
        self._tared = self.create_publisher(Header, "tared", SPINE)
        self._subscribe()
        self._latched = self._arm.status.latched
        self._safety.estop(self._arm.status)
        if self._session is not None:
            self._publish_full(self._session)
        else:
            self._drain_timer = self.steady_timer(1.0 / s["state_rate"], self._drain)
            # What it tells is what all others act on. Last here, since threads that are made inherit it.
            take_priority(s["priority"], below=1)

    # -- wiring ------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        matched = SubscriptionEventCallbacks(matched=self._action_matched)
        self.create_subscription(Action, "action", self._on_action, COMMAND, event_callbacks=matched)
        self.create_subscription(Tick, "tick", self._on_tick, SPINE, raw=True)
        self.create_subscription(TickMissing, "tick_missing", self._on_missing, SPINE)
        self.create_subscription(EstopRequest, "estop/request", self._on_estop, SPINE)
        self.create_service(Trigger, "reset_estop", self._on_reset_estop)
        self.create_service(Trigger, "tare", self._on_tare)
        if self._arm.scene:
            self.create_service(ResetScene, "scene/reset", self._on_reset_scene)
        self.steady_timer(0.1, self._report_status)
        self.steady_timer(1.0, self._report_diagnostics)

    def _now(self) -> Any:
        return to_time(self._arm.now_ns())

    def _scene_matched(self) -> PublisherEventCallbacks:
        return PublisherEventCallbacks(matched=self._on_scene_matched)

    def _on_scene_matched(self, info: Any) -> None:
        # A mirror world that joins late needs the description; the next ones carry it too, should the first come too early.
        if info.current_count_change > 0:
            # Realtime: a reader of the newest only may miss some, so two seconds of them.
            self._describe = 3 if self._session is not None else round(2.0 * self.settings["scene_rate"])
            if self._session is not None:
                self._publish_scene(self._session)

    def _action_matched(self, info: Any) -> None:
        self._action_publishers = info.current_count
        if self._action_publishers > 1:
            message = f"{self._action_publishers} publishers on action: holding until one is left"
            self.get_logger().error(message)
            self._safety.event("two_publishers", "gate", "hold", message, self._arm.now_ns())
            if self._link is not None:
                self._arm.obey(ArmOrder(0, "", "", "", "", None, "two_publishers"))

    # -- the tick ----------------------------------------------------------------------------------------------------

    def _on_tick(self, raw: bytes) -> None:
        tick = tick_head(raw)
        self._obey(self._gate.tick(tick.step_id, tick.episode_id, tick.final))
        if tick.final and self._session is not None and self._session.now_ns() != self._observed:
            # Nobody will ask for what has happened since: it is shown at once.
            self._publish_full(self._session)

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
        a = decision.action
        if a is None:
            order = ArmOrder(decision.step_id, decision.episode_id, "", "", "", None, decision.reason)
        else:
            order = ArmOrder(a.step_id, a.episode_id, a.source, a.action_space, a.action_space_hash, a.values)
        if self._session is not None:
            self._run_period(self._session, order)
        else:
            self._arm.obey(order)

    def _run_period(self, session: ArmSession, order: ArmOrder) -> None:
        start = time.monotonic()
        session.obey(order)
        # Published when the next observation is acquired: nobody may act before, and awake they would take the processor from the world.
        # What is measured after that comes with the observation that follows.
        late = session.next_delay() if order.values is not None else 0
        record = session.run_period(self._every, self._samples.append, late, lambda: self._publish_full(session))
        if order.step_id and record is not None:
            self._safety.applied(record, self._observed)
        if order.values is not None:
            session.run_ahead(self._every, self._samples.append)
        self._statistics.add((time.monotonic() - start) / session.cycles, False)

    def _publish_full(self, session: ArmSession) -> None:
        """An observation: everything as it is now; the scene first, since drawing takes longest."""
        self._observed = session.now_ns()
        self._publish_scene(session)
        self._publish_samples(session)

    def _publish_samples(self, session: ArmSession) -> None:
        """The state as it is now, after the samples before it, and what has happened."""
        self._state.clock(session.now_ns())
        for sample in (*self._samples, session.measure(tool=True)):
            self._publish_sample(sample)
        self._samples.clear()
        for event in session.loop.drain_events():
            self._safety.loop_event(LoopEvent(event, session.now_ns()))

    def _publish_scene(self, session: ArmSession) -> None:
        if session.scene:
            self._send_scene(session.scene_sample(session.backend.world.version != self._version))

    def _send_scene(self, scene: SceneSample) -> None:
        """With the description where the scene is new, or somebody may not know it yet."""
        if scene.description:
            self._version, self._description = scene.version, scene.description
        elif self._describe > 0:
            scene = replace(scene, description=self._description)
        self._describe = max(0, self._describe - 1)
        self._state.scene(scene)

    def _publish_sample(self, sample: ArmSample) -> None:
        self._newest = sample
        self._state.sample(sample)

    # -- pace realtime: what the loop's process tells ------------------------------------------------------------------

    def _drain(self) -> None:
        assert self._link is not None
        try:
            reports = self._link.reports()
        except SafetyError as error:
            self._drain_timer.cancel()
            self.get_logger().fatal(f"the arm is lost: {error}")
            self.request_stop(1)
            return
        for report in reports:
            if isinstance(report, ArmSample):
                self._publish_sample(report)
            elif isinstance(report, SceneSample):
                self._send_scene(report)
            elif isinstance(report, AppliedRecord):
                self._safety.applied(report, report.applied)
            elif isinstance(report, LoopEvent):
                self._safety.loop_event(report)
        self._tell_estop()

    # -- services ----------------------------------------------------------------------------------------------------

    def _tell_estop(self) -> None:
        """Publishes the latch when it was set or cleared."""
        status = self._arm.status
        if status.latched != self._latched:
            self._latched = status.latched
            if status.latched:
                self.get_logger().error(f"emergency stop by {status.estop_by or 'unknown'}: {status.estop_reason}")
            self._safety.estop(status)

    def _on_estop(self, request: EstopRequest) -> None:
        self._arm.request_estop(request.reason, request.requested_by)
        self._tell_estop()

    def _attempt(self, function: Callable[[], Any]) -> tuple[Any, ApprenticeError | None]:
        """In realtime this waits for the loop, which holds up only what is published; a coroutine would starve the executor of all else."""
        try:
            return function(), None
        except ApprenticeError as error:
            return None, error

    def _on_reset_estop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        _, error = self._attempt(self._arm.reset_estop)
        response.success, response.message = error is None, str(error or "emergency stop cleared; the arm holds where it is")
        self._tell_estop()
        return response

    def _on_tare(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        _, error = self._attempt(self._arm.tare)
        response.success, response.message = error is None, str(error or "force sensor zeroed")
        if error is None:
            header = Header(stamp=self._now(), frame_id=hand(self._robot).frame)
            self._tared.publish(header)
        return response

    def _on_reset_scene(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        if request.task and request.task != self._task:
            response.ok, response.message = False, f"this arm_node runs task {self._task!r}, not {request.task!r}"
            return response
        seed = request.seed if request.seed >= 0 else None
        description, error = self._attempt(lambda: self._arm.reset_scene(request.initial_state, seed))
        response.ok, response.message = error is None, str(error or "")
        if error is None:
            response.description = description
            if self._session is not None:
                self._publish_full(self._session)
        return response

    # -- reports -----------------------------------------------------------------------------------------------------

    def _report_status(self) -> None:
        status = self._arm.status
        self._safety.status(status, self._statistics.summary(), self._arm.now_ns())
        sample = self._newest
        if sample is not None and (sample.stamp, status.state) != self._shown:
            stamp = to_time(sample.stamp)
            self._frames.update(sample.position, sample.gripper_position, stamp)
            if status.state != self._shown[1]:
                self._frames.publish_markers(stamp, status.state == "stopped")
            self._shown = (sample.stamp, status.state)

    def _report_diagnostics(self) -> None:
        status, timing = self._arm.status, self._statistics.summary()
        late = self._link is not None and timing.overrun_fraction > 0.005
        level = 2 if status.state == "stopped" else 1 if late or self._action_publishers > 1 else 0
        self.diagnose("arm", level, status.reason or status.state, {
            "state": status.state, "pace": self.settings["pace"], "publishers": self._action_publishers,
            "dropped_answers": self._gate.dropped,
            "cycles": timing.cycles, "cycle_median_ms": f"{1e3 * timing.median:.3f}", "cycle_p99_ms": f"{1e3 * timing.p99:.3f}",
            "overruns": timing.overruns, "overrun_fraction": f"{timing.overrun_fraction:.5f}", "skipped": timing.skipped,
            "scheduling": status.scheduling,
        })

    def close(self) -> None:
        self._arm.close()


def main() -> None:
    run_node(ArmNode)


if __name__ == "__main__":
    main()
