"""Owns the tick and the episode: `run_episode`, the joined steps, the events (`EpisodeMachine` decides, this node carries)."""

from __future__ import annotations

import time
from typing import Any

from rclpy.serialization import deserialize_message
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice_core.cell import CellSpec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ConfigError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_polled import PolledGroup, take_raw
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_core.streams import JointNames, is_image
from apprentice_interfaces.msg import (
    Action,
    Applied,
    EpisodeCommitted,
    EpisodeEvent,
    EstopState,
    Reward,
    SafetyEvent,
    Step,
    Tick,
    TickMissing,
)
from apprentice_interfaces.srv import EndEpisode, ResetScene
from apprentice_runtime.arrival import STREAMS, Arrival
from apprentice_runtime.episode_machine import Committed, EpisodeMachine, EpisodeResult, Goal, MachineRules
from apprentice_runtime.episode_run import RunRules
from apprentice_runtime.gate import ObservationGate
from apprentice_runtime.mux_node import SOURCES
from apprentice_runtime.ros_convert import (
    action_from_msg,
    applied_from_msg,
    event_to_msg,
    reward_from_msg,
    step_to_msg,
    tick_to_msg,
)
from apprentice_runtime.ros_episode_server import EpisodeServer
from apprentice_runtime.ros_readiness import Readiness
from apprentice_runtime.ros_streams import StreamTaps
from apprentice_runtime.tick import EventData, StepData, TickPlan

PARAMETERS = (
    Param("cell", "sawyer_lift", "cell config"),
    Param("task", "lift", "task config that episodes of this cell run"),
    Param("pace", "lockstep", "lockstep: a barrier; realtime: the wall clock", choices=("lockstep", "realtime")),
    Param("sources", SOURCES, "action sources that may be asked to drive"),
    Param("reward_sources", ["scripted"], "reward sources that answer every tick; an empty name: none"),
    Param("reset_source", "reset", "action source that drives resets"),
    Param("horizon", 0, "control steps of an episode; 0: the task's", bounds=(0, 100000)),
    Param("seed", -1, "of the seeds that are drawn for goals without one; -1: from the system", bounds=(-1, 2**31 - 1)),
    Param("answer_timeout", 2.0, "a source that is silent for so long is declared missing; in realtime it is lost, s", bounds=(0.05, 60.0)),
    Param("arm_timeout", 5.0, "arm_node that is silent for so long ends the episode, s", bounds=(0.1, 60.0)),
    Param("patience", 3, "so many stale observations (in lockstep also missing answers) in a row end the episode", bounds=(1, 1000)),
    Param("home_tolerance", 0.05, "largest joint error of a verified reset, rad", bounds=(0.001, 1.0)),
    Param("start_tolerance", 0.002, "largest tool error of a reset to an episode's own start, m", bounds=(1e-5, 0.1)),
    Param("still_speed", 0.05, "largest joint speed of a still arm, rad/s", bounds=(0.0001, 1.0)),
    Param("ready_timeout", 30.0, "source, rewards and recorder must be there within, s", bounds=(0.1, 600.0)),
    Param("commit_timeout", 30.0, "the recorder must commit within, s", bounds=(0.1, 600.0)),
)
LATE = 0.1
"""part of a period by which a tick may be late before the next ones are put off too (ours)"""
POLL = 0.001
"""while an observation is awaited, the polled streams are looked at so often, s (ours)"""


class EpisodeNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("episode_node", PARAMETERS)
        s = self.settings
        cell, task = load_cell(s["cell"]), load_task(s["task"])
        self._arrival = Arrival(load_robot(cell.robot), s["home_tolerance"], s["start_tolerance"], s["still_speed"])
        self._lockstep = s["pace"] == "lockstep"
        self._spec: CellSpec | None = None
        self._taps: StreamTaps | None = None
        self._gate: ObservationGate | None = None
        self._estop = ""
        run = RunRules(self._lockstep, cell.timing.control_period, s["answer_timeout"], s["arm_timeout"], s["patience"])
        rules = MachineRules(
            run, s["horizon"] or task.horizon, s["reset_source"], ready_timeout=s["ready_timeout"],
            commit_timeout=s["commit_timeout"], scene=cell.backend == "pybullet",
        )
        rewards = tuple(r for r in s["reward_sources"] if r)
        self._machine = EpisodeMachine(rules, self, rewards, None if s["seed"] < 0 else s["seed"])
        self._readiness = Readiness(self, rewards, s["reset_source"])
        self._publish_spine()
        self.create_subscription(String, CELL_SPEC_TOPIC, self._on_spec, LATCHED)
        # Polled: a wish is there by the time its command was applied, and every entity that can wake an executor costs each wait. So is the
        # command itself, in lockstep; in realtime it is to be there before the next tick is due.
        group = PolledGroup()
        self._commands = (
            self.create_subscription(Action, "action", lambda _: None, SPINE, raw=True, callback_group=group) if self._lockstep else None
        )
        if self._commands is None:
            self.create_subscription(Action, "action", self._on_action, SPINE)
        self._wishes = [
            self.create_subscription(Action, f"action/{name}", lambda _: None, SPINE, raw=True, callback_group=group)
            for name in dict.fromkeys((*s["sources"], s["reset_source"]))
        ]
        for name in rewards:
            self.create_subscription(Reward, f"reward/{name}", self._on_reward, SPINE)
        self.create_subscription(Applied, "applied", self._on_applied, SPINE)
        self.create_subscription(EpisodeCommitted, "episode/committed", self._on_committed, SPINE)
        self.create_subscription(EstopState, "estop/state", self._on_estop, LATCHED)
        self._scene = self.create_client(ResetScene, "scene/reset")
        self._tare = self.create_client(Trigger, "tare")
        self.create_service(EndEpisode, "end_episode", self._on_end)
        self.create_service(Trigger, "confirm_reset", self._on_confirm)
        self._server = EpisodeServer(self, self._machine, task, tuple(s["sources"]), self._blocked)
        self._look = self.steady_timer(POLL, self._pump)
        self._look.cancel()
        self._period = run.period
        self._beat = None if self._lockstep else self.steady_timer(run.period, self._tick_now)
        self._due = 0.0
        self._slow = self.steady_timer(0.02, self._poll)
        self._watch = self.steady_timer(0.5, self._watch_source)
        self.steady_timer(1.0, self._report)

    def _publish_spine(self) -> None:
        self._ticks = self.create_publisher(Tick, "tick", SPINE)
        self._steps = self.create_publisher(Step, "step", SPINE)
        self._events = self.create_publisher(EpisodeEvent, "episode/event", SPINE)
        self._missing = self.create_publisher(TickMissing, "tick_missing", SPINE)
        self._safety = self.create_publisher(SafetyEvent, "safety/event", SPINE)

    # what arrives

    def _on_spec(self, message: String) -> None:
        try:
            spec, robot = cell_spec_from_json(message.data)
        except ConfigError as error:
            self.get_logger().error(str(error))
            return
        if spec != self._spec:
            self._use(spec, robot)

    def _use(self, spec: CellSpec, robot: JointNames) -> None:
        if self._taps:
            self._taps.destroy()
        self._spec = spec
        cameras = [s.name for s in spec.streams if is_image(s)]
        self._taps = StreamTaps(self, spec.streams, robot, self._lockstep, cameras, self._pump)
        self._gate = ObservationGate(self._taps.assembler, spec.streams)

    def _on_action(self, message: Action, info: dict[str, Any]) -> None:
        if self._machine.run:
            self._machine.run.answer(action_from_msg(message, info["source_timestamp"]))
            self._machine.advance()

    def _take_wishes(self) -> None:
        while self._commands is not None and (taken := take_raw(self._commands)) is not None:
            self._on_action(deserialize_message(taken[0], Action), taken[1])
        for subscription in self._wishes:
            while (taken := take_raw(subscription)) is not None:
                if self._machine.run:
                    self._machine.run.wish(action_from_msg(deserialize_message(taken[0], Action)))

    def _on_reward(self, message: Reward) -> None:
        if self._machine.run:
            self._machine.run.reward(reward_from_msg(message))
            self._machine.advance()
            self._pump()

    def _on_applied(self, message: Applied) -> None:
        self._take_wishes()
        if self._machine.run:
            self._machine.run.applied(applied_from_msg(message))
            self._machine.advance()
            self._pump()

    def _on_committed(self, m: EpisodeCommitted) -> None:
        if not m.ok:
            self.get_logger().error(f"episode {m.episode_id}: {m.message}")
        self._machine.on_committed(Committed(m.episode_id, m.ok, m.path, m.message, m.lost))

    def _on_estop(self, message: EstopState) -> None:
        self._estop = (message.reason or "latched") if message.latched else ""
        if self._estop and self._machine.busy:
            self._machine.cancel("estop")

    # the tick

    def _pump(self) -> None:
        """Lockstep: lets the next tick go out as soon as its observation is complete."""
        run = self._machine.run
        if not self._lockstep or self._gate is None or self._taps is None:
            return
        if run is None or not run.wants_observation:
            if run is not None:
                # While the arm still moves: what has come is not to be taken in when everybody waits.
                self._taps.drain()
                self._take_wishes()
            if not self._look.is_canceled():
                self._look.cancel()
            return
        self._taps.drain()
        now = time.monotonic()
        found = self._gate.complete(run.awaited_stamp) or self._gate.overdue(run.awaited_stamp, now, self._machine.rules.run.answer_timeout)
        if found is None:
            # The cameras are the last to come and wake this node themselves: only what is polled must be looked for.
            looking = self._gate.only_polled_lack(run.awaited_stamp)
            if looking and self._look.is_canceled():
                self._look.reset()
            elif not looking:
                self._look.cancel()
            return
        self._look.cancel()
        self._send_tick(*found, now)

    def _tick_now(self) -> None:
        """Realtime: once a period; a tick that went out late has a whole one too."""
        now, run = time.monotonic(), self._machine.run
        if now > self._due + LATE * self._period:
            self._set_beat()
        else:
            self._due += self._period
        if run is None or self._gate is None or self._taps is None or not run.wants_observation:
            return
        self._taps.drain()
        stamp = self.get_clock().now().nanoseconds
        self._send_tick(stamp, *self._gate.newest(stamp), time.monotonic())

    def _set_beat(self) -> None:
        """Realtime: the next tick goes out a period from now."""
        if self._beat is not None:
            self._beat.reset()
            self._due = time.monotonic() + self._period

    def _send_tick(self, stamp: int, parts: Any, missing: Any, now: float) -> None:
        run = self._machine.run
        assert run is not None and self._taps is not None
        plan = run.observed(stamp, parts, missing, now, self._taps.carried(parts))
        if plan.stale:
            self._tell("sensor_stale", plan.step_id, f"stale or absent: {', '.join(plan.stale)}", stamp)
        if plan.step % 10 == 0:
            self._server.feedback()
        if plan.final and not self._lockstep:
            self.get_logger().info("{}: ticks were off their period by {:.1f} ms (p99), {:.1f} ms at most".format(
                plan.episode_id, *(1e3 * x for x in run.jitter)))
        self._machine.advance()

    def _poll(self) -> None:
        run = self._machine.run
        if not self._lockstep and run is not None and run.last_tick is not None and self._gate is not None and self._taps is not None:
            self._taps.drain()
            stamp = self.get_clock().now().nanoseconds
            # A margin of this timer's period: the hold is to come within the age limit, not one look after it.
            stale = self._gate.stale(stamp, margin=0.02)
            if stale and run.blind(stale):
                self._tell("sensor_stale", run.last_tick.step_id, f"stale: {', '.join(stale)}", stamp)
        if self._machine.busy:
            self._take_wishes()
        self._machine.poll(time.monotonic())
        if self._lockstep:
            self._pump()

    def _watch_source(self) -> None:
        run = self._machine.run
        if run is not None and run.last_tick is not None and self.count_publishers(f"action/{run.sources[0]}") == 0:
            run.source_lost()
            self._machine.advance()

    # EpisodePorts

    def tick(self, plan: TickPlan) -> None:
        self._ticks.publish(tick_to_msg(plan))

    def tick_missing(self, step_id: int, sources: tuple[str, ...], reason: str) -> None:
        self._missing.publish(TickMissing(step_id=step_id, sources=list(sources), reason=reason))
        if sources:
            stamp = self._gate.last_stamp if self._gate else 0
            self._tell("command_timeout", step_id, f"{', '.join(sources)}: {reason}", stamp)

    def step(self, data: StepData) -> None:
        assert self._spec is not None
        self._steps.publish(step_to_msg(data, self._spec.action_space))

    def event(self, data: EventData) -> None:
        message = event_to_msg(data)
        if not data.stamp:
            stamp = self._gate.last_stamp if self._gate and self._lockstep else self.get_clock().now().nanoseconds
            message.stamp = to_time(stamp)
        self._events.publish(message)
        if data.event == "start":
            # Its source gets ready meanwhile: it takes in what has piled up and decodes the newest.
            self._set_beat()

    def reset_scene(self, task: str, initial_state: str, seed: int) -> None:
        if not self._scene.service_is_ready():
            self._machine.on_scene(False, "no scene/reset service; is arm_node running with a simulated backend?")
            return
        request = ResetScene.Request(task=task, initial_state=initial_state, seed=seed)
        self._scene.call_async(request).add_done_callback(self._on_scene)

    def _on_scene(self, future: Future) -> None:
        response = future.result()
        self._machine.on_scene(response.ok, response.message)

    def tare(self) -> bool:
        if not self._tare.service_is_ready():
            return False
        self._tare.call_async(Trigger.Request()).add_done_callback(self._on_tared)
        return True

    def _on_tared(self, future: Future) -> None:
        if not future.result().success:
            self.get_logger().warning(f"tare: {future.result().message}")
        self._machine.on_tared()

    def stand(self) -> None:
        if self._lockstep:
            self._missing.publish(TickMissing(step_id=0, reason="nobody drives"))

    def fresh(self) -> None:
        if self._gate and self._taps:
            # What waits in the queues is old too.
            self._taps.drain()
            self._gate.require_newer()

    def settled(self) -> bool:
        if self._gate is None or self._taps is None:
            return False
        self._taps.drain()
        if not self._lockstep:
            now = self.get_clock().now().nanoseconds
            return not self._gate.stale(now)
        return self._gate.complete(None) is not None

    def lacking(self) -> tuple[str, ...]:
        return self._gate.lacking() if self._gate else ()

    def home_error(self, goal: Goal) -> str:
        newest = self._taps.assembler.newest() if self._taps else {}
        stamps = {n: part.stamp for n in STREAMS if (part := newest.get(n)) is not None}
        if self._taps is None or len(stamps) < len(STREAMS):
            return "no joint states"
        return self._arrival.error(goal.metadata, self._taps.assembler.observation(stamps))

    def _blocked(self) -> str:
        return f"e-stop latched ({self._estop}); call reset_estop" if self._estop else ""

    def not_ready(self, goal: Goal) -> str:
        if self._spec is None:
            return "no cell_spec: is arm_node running?"
        if blocked := self._blocked():
            return blocked
        lacking = self._readiness.lacks(goal, [s.topic for s in self._spec.streams])
        if self._lockstep and (lacking or self._readiness.newcomers):
            # What the standing world showed before all were there, some have not seen.
            self.fresh()
        return lacking

    def phase(self, phase: str) -> None:
        self._server.feedback()

    def finished(self, result: EpisodeResult) -> None:
        self._server.finished(result)

    def _tell(self, code: str, step_id: int, text: str, stamp: int) -> None:
        run = self._machine.run
        event = SafetyEvent(
            code=code, stage="tick", outcome="hold", episode_id=run.context.episode_id if run else "", step_id=step_id, message=text
        )
        event.header.stamp = to_time(stamp)
        self._safety.publish(event)

    # services

    def _on_end(self, request: EndEpisode.Request, response: EndEpisode.Response) -> EndEpisode.Response:
        response.ok = self._machine.cancel(request.reason or "operator", request.success)
        response.message = "" if response.ok else "no episode is running"
        return response

    def _on_confirm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._arrival.forget_grip()
        response.success = self._machine.on_operator()
        response.message = "" if response.success else "no reset by the operator is being waited for"
        return response

    def _report(self) -> None:
        run, m = self._machine.run, self._machine
        self.diagnose("episode", 2 if self._estop else 0, self._estop or m.current_phase or "idle", {
            "episode": run.context.episode_id if run else "", "steps": run.steps if run else 0,
            "stale_answers": run.stale_answers if run else 0, "silent_rewards": run.silent_rewards if run else 0,
            "tick_jitter_p99": run.jitter[0] if run and not self._lockstep else 0.0,
        })

    def close(self) -> None:
        self._server.destroy()


def main() -> None:
    run_node(EpisodeNode)


if __name__ == "__main__":
    main()
