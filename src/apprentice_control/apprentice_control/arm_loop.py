"""The one loop that moves an arm: safety chain, set point, impedance, watchdogs (contract 8). No ROS, no wall clock in its logic."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from apprentice_control.action_chain import ActionChain, Plan
from apprentice_control.arm_command import (
    STAGE_CODES,
    AppliedRecord,
    ArmCommand,
    Counters,
    LoopState,
    Outbox,
    Outcome,
    Pending,
    SafetyEvent,
)
from apprentice_control.backend import ArmBackend, ArmState
from apprentice_control.disturbance import STAGE, Disturbance
from apprentice_control.drive import make_drive
from apprentice_control.estop import EstopLatch
from apprentice_control.kinematics import Kinematics
from apprentice_control.safety import ForceGate, StageRecord, Watchdog
from apprentice_control.slices import Slices
from apprentice_core.config import Limits, RobotProfile, tightest
from apprentice_core.errors import SafetyError
from apprentice_core.spaces import ActionSpace
from apprentice_core.urdf import hand
from apprentice_core.wrench import WrenchConfig, WrenchFilter

HOLD_RAMP = 0.05
"""s in which a move under way comes to rest on hold (ours)"""
SENSOR_PERIOD = 0.01
"""s between refreshes of the sensor's orientation (ours)"""
SAFE_PERIOD, SAFE_COUNT = 0.1, 4
"""the retreat goes to the oldest of the last configurations kept while forces were low (ours)"""
RETREAT_SHARE = 0.5
"""of the joint speed limits (ours)"""
STILL = 0.05
"""rad/s; a faster arm cannot be tared (ours)"""
TARE_SAMPLES = 50


class ArmLoop:
    """One arm under one safety chain, the same object in lockstep and in real time.

    `tick` is one cycle of `backend.period`: read, check, move the set point, command. Loop time is the count of cycles, or
    what the caller gives as `now` (a steady clock, s). `limits` can only tighten those of the profile. `action_delay` (s):
    an answer takes effect so much later, the previous target goes on until then. `sliced`: an answer's plan is made over several
    cycles, a slice in each, and the previous target goes on until it is whole; the next answer waits for that. Call everything from
    the thread that ticks, except `submit` and `hold`, which only queue.
    """

    def __init__(
        self, profile: RobotProfile, limits: Limits, backend: ArmBackend, control_period: float, action_delay: float = 0.0,
        estop: EstopLatch | None = None, clock: Callable[[], int] = time.time_ns, sliced: bool = False,
    ):
        self.profile, self.backend, self.estop, self._clock, self.sliced = profile, backend, estop, clock, sliced
        self.limits = tightest(profile.limits, limits)
        self.period, self.control_period, self.action_delay = backend.period, control_period, action_delay
        self.kinematics = Kinematics(profile)
        self.chain = ActionChain(profile, self.limits, self.kinematics, control_period)
        self.cycles = max(1, round(control_period / self.period))
        self.drive = make_drive(profile, self.limits, self.kinematics, backend)
        self.setpoint, self.impedance = self.drive.setpoint, self.drive.impedance
        self.force_gate: ForceGate = self.chain.force
        self.watchdog = Watchdog(self.limits.sensor_timeout or 0.2, self.limits.command_timeout or 0.3)
        carried = hand(profile)
        # A simulated sensor without noise repeats itself whenever the world stands still; that is not a fault.
        stuck = 1 << 62 if "lockstep" in backend.capabilities else WrenchConfig.stuck_samples
        self.wrench_filter = WrenchFilter(WrenchConfig(carried.mass, carried.com, stuck_samples=stuck))
        self.state: LoopState = "hold"
        self.reason = "not engaged"
        self.counters, self.outbox = Counters(), Outbox()
        self.measured: ArmState | None = None
        self.raw: ArmState | None = None
        """as read in the last cycle, None when stopped; `measured` is the last whose joints are finite"""
        self.now = 0.0
        self.gripper: float | None = None
        self._pending: deque[Pending] = deque()
        self._planning: tuple[Pending, Slices[Plan]] | None = None
        self._applied: AppliedRecord | None = None
        self._last_step = -1
        self._last_space: ActionSpace | None = None
        self._force_latched = ""
        self._stale = ""
        self._tick = 0
        self._stamp = self._wrench_stamp = float("nan")
        self._sensor_rotation = np.eye(3)
        self._raw = np.zeros((TARE_SAMPLES, 6))
        self._raw_count = 0
        self._safe: deque[np.ndarray] = deque(maxlen=SAFE_COUNT)
        self._still = np.zeros(self.kinematics.n)
        self._sensor_every, self._safe_every = (max(1, round(p / self.period)) for p in (SENSOR_PERIOD, SAFE_PERIOD))

    # ---- what callers use

    def engage(self) -> None:
        """Takes the arm where it is: set point from measured joints, stiffness ramped, force abort and sensor hold cleared.

        SafetyError while the e-stop is latched or the joints cannot be read.
        """
        if self.estop is not None and self.estop.latched:
            raise SafetyError(f"emergency stop is latched: {self.estop.reason}; reset it first")
        state = self.backend.read()
        if not (np.isfinite(state.position).all() and np.isfinite(state.velocity).all()):
            raise SafetyError("joint states hold NaN or infinity; cannot engage")
        self.measured = replace(state)
        self._stamp, self._wrench_stamp = state.stamp, float("nan")
        self.watchdog.restart(self.now)
        self._force_latched = self._stale = ""
        self._safe.clear()
        self._seed(state)
        self._set("hold", "engaged")

    def submit(self, command: ArmCommand, since: float | None = None) -> bool:
        """Queues an answer; False (and counted) when its step id is not newer than the last one's. `since`: the loop time from which
        `action_delay` counts, now by default."""
        return self._queue(command, "", since)

    def hold(self, step_id: int, reason: str, episode_id: str = "", source: str = "", since: float | None = None) -> bool:
        """Holds for one step instead of an answer. A step id of 0 stands for no step: hold, and record nothing."""
        space = self._last_space or ActionSpace("", ())
        return self._queue(ArmCommand(step_id, episode_id, source, space, ()), reason, since)

    def disturb(self, disturbance: Disturbance | None) -> None:
        """Adds control noise to every answer from now on (spec 001c A17); SafetyError where the arm is none of a simulation."""
        if disturbance is not None and "lockstep" not in self.backend.capabilities:
            raise SafetyError("a disturbance is added in simulation only")
        self.chain.disturbance = disturbance

    def applied(self) -> AppliedRecord | None:
        """The newest answer that took effect; its outcome becomes `retreat` or `stop` when that strikes while it runs."""
        return self._applied

    def tare(self) -> bool:
        """Takes the mean of the last wrench samples as zero; False when the arm moves or nothing was measured yet."""
        count = min(self._raw_count, TARE_SAMPLES)
        if count == 0 or self.measured is None or float(np.max(np.abs(self.measured.velocity))) > STILL:
            return False
        self.wrench_filter.tare(self._raw[:count], self.kinematics.sensor_rotation(self.measured.position))
        self._raw_count = 0
        return True

    def drain_events(self) -> list[SafetyEvent]:
        return self.outbox.drain()

    @property
    def wrench(self) -> np.ndarray:
        """Filtered wrench [6] on the tool by the world, sensor frame; zeros before the first sample."""
        return np.zeros(6) if self.wrench_filter.value is None else self.wrench_filter.value

    @property
    def measured_stamp(self) -> float:
        """The backend's time of the last measured joints, s; 0 before the first."""
        return self.measured.stamp if self.measured is not None else 0.0

    @property
    def planning(self) -> bool:
        """An answer's plan is under way."""
        return self._planning is not None

    # ---- one cycle

    def tick(self, now: float | None = None) -> None:
        """One cycle; `now`: steady seconds, by default one period after the last."""
        self.now = self.now + self.period if now is None else now
        self.raw = None
        if self.estop is not None and self.estop.latched:
            self.stop()
            return
        if self.state == "stopped":
            return
        if self.measured is None:
            self.engage()
        self._tick += 1
        self.raw = state = self.backend.read()
        self._take(state)
        if self._planning is not None:
            self._plan_on()
        while self._planning is None and self._pending and self._pending[0].due <= self.now + 0.5 * self.period:
            self._apply(self._pending.popleft())
        self._watch()
        setpoint = self.setpoint
        setpoint.advance()
        if self.state == "retreat" and not setpoint.moving:
            self._set("hold", "force_limit")
        velocity = self._still if self._stale else self.measured.velocity  # type: ignore[union-attr]
        self.drive.command(self.measured.position, velocity)  # type: ignore[union-attr]

    def _take(self, state: ArmState) -> None:
        """New joint and wrench data; the hard force check at the wrench's rate. Data that is not finite counts as not arrived."""
        size = sum(state.position.tolist()) + sum(state.velocity.tolist())
        if state.stamp != self._stamp and size - size == 0.0:
            self.measured, self._stamp, self.watchdog.joints = state, state.stamp, self.now
        if state.wrench_stamp == self._wrench_stamp:
            return
        dt = state.wrench_stamp - self._wrench_stamp
        if self._tick % self._sensor_every == 0 or dt != dt:
            self._sensor_rotation = self.kinematics.sensor_rotation(self.measured.position)  # type: ignore[union-attr]
        try:
            value = self.wrench_filter.update(state.wrench, self._sensor_rotation, self.period if dt != dt else dt)
        except ValueError:
            return
        self._wrench_stamp = state.wrench_stamp
        self._raw[self._raw_count % TARE_SAMPLES] = state.wrench
        self._raw_count += 1
        if not self.wrench_filter.stuck:
            self.watchdog.wrench = self.now
        fx, fy, fz = value[:3].tolist()
        if self.state in ("running", "hold") and not self._force_latched and self.force_gate.violates(fx, fy, fz):
            self._retreat((fx, fy, fz))
        elif self._tick % self._safe_every == 0 and max(fx, fy, fz, -fx, -fy, -fz) < self.force_gate.soft:
            self._safe.append(self.measured.position.copy())  # type: ignore[union-attr]

    def _watch(self) -> None:
        stale = self.watchdog.stale_sensor(self.now)
        if stale and not self._stale:
            self._stale = stale
            self.setpoint.brake(round(HOLD_RAMP / self.period))
            if stale == "joint states":
                # Blind: what is left is gravity compensation at the last known place.
                self._seed(self.measured)  # type: ignore[arg-type]
            self._abandon("hold", "sensor_stale")
            if self.state != "retreat":
                self._set("hold", "sensor_stale")
            self._event("sensor_stale", "watchdog", "hold", message=f"{stale} silent for {self.watchdog.sensor_timeout} s")
            self.counters.holds += 1
        elif self._stale and not stale:
            self._stale = ""
            self._seed(self.measured)  # type: ignore[arg-type]
        if self.state == "running" and self._planning is None and self.watchdog.late_command(self.now):
            self._pause("command_timeout")
            self._event("command_timeout", "watchdog", "hold", message=f"no command for {self.watchdog.command_timeout} s")

    # ---- answers

    def _queue(self, command: ArmCommand, hold: str, since: float | None) -> bool:
        if command.step_id <= self._last_step and not (hold and command.step_id == 0):
            self.counters.refused += 1
            return False
        self._last_step = max(self._last_step, command.step_id)
        begun = self.now if since is None else since
        self._pending.append(Pending(begun + self.action_delay, self._clock(), command, hold))
        return True

    def _apply(self, pending: Pending) -> None:
        command = pending.command
        # A force abort belongs to the episode in which it happened; the next one (its reset) may move again once the arm is free.
        another = bool(command.episode_id) and command.episode_id != self._force_latched and not pending.hold
        if self._force_latched and another and self.state == "hold" and not self.force_gate.violates(*self.wrench[:3].tolist()):
            self._force_latched = ""
        blocked, outcome = "", "hold"
        if pending.hold:
            blocked = pending.hold
            self._pause(blocked)
        elif self.state == "retreat":
            # It is the end of the episode that pressed; the next one (its reset) waits until the arm has left the contact.
            blocked, outcome = "force_limit", "retreat" if command.episode_id in ("", self._force_latched) else "hold"
        elif self._force_latched:
            blocked = "force_limit"
        elif self._stale:
            blocked = "sensor_stale"
        if pending.hold and command.step_id == 0:
            return
        if blocked:
            if pending.hold and blocked != "idle":
                code = blocked if blocked in ("two_publishers", "sensor_stale") else "command_timeout"
                self._event(code, "watchdog", "hold", command=command, message=blocked)
            self._nothing(pending, outcome, blocked)  # type: ignore[arg-type]
            return
        fault = self.chain.unusable(command.space)
        if fault:
            self._pause(fault)
            self._event("nan", "space", "hold", command=command, message=fault)
            self._nothing(pending, "hold", fault)
            return
        force = self._sensor_rotation @ self.wrench[:3]
        measured = self.measured.position  # type: ignore[union-attr]
        self._planning = pending, self.chain.slices(command.space, command.values, self.setpoint, measured, force)
        self._plan_on()

    def _plan_on(self) -> None:
        """The next slice of the plan under way, or all of it; the move begins once it is whole."""
        pending, slices = self._planning  # type: ignore[misc]
        try:
            next(slices)
            while not self.sliced:
                next(slices)
        except StopIteration as done:
            self._planning = None
            self._move(pending, done.value)

    def _move(self, pending: Pending, plan: Plan) -> None:
        command, state = pending.command, self.measured
        assert state is not None
        self.drive.start(state.position, state.velocity)
        self.setpoint.move_to(plan.target, self.cycles)
        if plan.gripper != 0.0:
            closed = 1.0 if plan.gripper > 0 else 0.0
            if closed != self.gripper:
                self.gripper = closed
                self.backend.command_gripper(closed)
        elif self.gripper is not None and command.space.dimensions[-1].binary:
            # A person presses a button and lets go; what the fingers go on doing is on record as -1 or 1 (spec 000 section 8).
            plan.executed[-1] = 2.0 * self.gripper - 1.0
        self._last_space = command.space
        self.watchdog.command = self.now
        self._set("running", "")
        clamped = [s for s in plan.stages if s.changed and s.name != STAGE]
        reason = f"{clamped[0].name}: {clamped[0].reason}" if clamped else ""
        self._record(pending, "applied", reason, plan.mixed, plan.executed, plan.stages)
        for stage in clamped:
            self.counters.clamps += 1
            self._event(STAGE_CODES[stage.name], stage.name, "clamped", command=command, before=stage.before, after=stage.after,
                        message=stage.reason)

    def _abandon(self, outcome: Outcome, reason: str) -> None:
        """Gives up the plan under way, if any: what struck comes before the move that it would have made."""
        if self._planning is not None:
            (pending, _), self._planning = self._planning, None
            self._nothing(pending, outcome, reason)

    def _struck(self, outcome: Outcome, reason: str) -> None:
        """Retreat or stop: the outcome of the answer that runs, and of the one whose plan is under way."""
        if self._applied is not None:
            self._applied.outcome, self._applied.reason = outcome, reason
        self._abandon(outcome, reason)

    def _nothing(self, pending: Pending, outcome: Outcome, reason: str) -> None:
        neutral = pending.command.space.neutral()
        self._record(pending, outcome, reason, neutral, neutral.copy(), [])

    def _record(
        self, pending: Pending, outcome: Outcome, reason: str, mixed: np.ndarray, executed: np.ndarray, stages: list[StageRecord]
    ) -> None:
        c = pending.command
        self._applied = AppliedRecord(c.step_id, c.episode_id, c.source, outcome, reason, mixed, executed, stages, pending.received,
                                      self._clock(), self.measured_stamp)

    # ---- hold, retreat, stop commanding

    def _set(self, state: LoopState, reason: str) -> None:
        self.state, self.reason = state, reason

    def _seed(self, state: ArmState) -> None:
        self.setpoint.seed(state.position)
        self.drive.engage(state.position)

    def _pause(self, reason: str) -> None:
        """Hold: comes to rest by a ramp and stays there, commanding."""
        if self.state == "running":
            self.counters.holds += 1
        if self.state in ("running", "hold"):
            self.setpoint.brake(round(HOLD_RAMP / self.period))
            self._set("hold", reason)

    def _retreat(self, force: tuple[float, float, float]) -> None:
        """Retreat: leaves the contact for the last safe joint configuration, then holds; the episode is over."""
        state = self.measured
        assert state is not None
        target = self._safe[0] if self._safe else state.position.copy()
        self.setpoint.seed(state.position)
        self.drive.relax()
        self.setpoint.move_to(target, self.chain.cycles_for(state.position, target, RETREAT_SHARE, self.period))
        self._struck("retreat", "force_limit")
        applied = self._applied
        self._force_latched = applied.episode_id if applied is not None and applied.episode_id else "-"
        self._pending.clear()
        self._set("retreat", "force_limit")
        self.counters.retreats += 1
        self._event("force_hard", "force_hard", "retreat", before=force, message=f"beyond {self.force_gate.hard} N")

    def stop(self) -> None:
        """Stop commanding: the arm's own brakes or hold take over. `engage` starts again once the latch is reset."""
        if self.state == "stopped":
            for pending in self._pending:
                self._nothing(pending, "stop", "estop")
            self._pending.clear()
            return
        self.backend.stop_commanding()
        self._struck("stop", "estop")
        self._set("stopped", "estop")
        self.counters.stops += 1
        self.drive.relax()
        self._event("estop", "estop", "stop", message=self.estop.reason if self.estop is not None else "")

    def _event(
        self, code: str, stage: str, outcome: str, command: ArmCommand | None = None, before: tuple[float, ...] = (),
        after: tuple[float, ...] = (), message: str = "",
    ) -> None:
        last = command or self._applied
        step_id, episode_id = (last.step_id, last.episode_id) if last is not None else (0, "")
        self.outbox.put(SafetyEvent(code, stage, outcome, step_id, episode_id, self.measured_stamp, before, after, message))  # type: ignore[arg-type]
