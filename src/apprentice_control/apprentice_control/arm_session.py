"""The arm, its loop and its clock in one object, without ROS: in arm_node's own process in lockstep, in the loop's in realtime."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from apprentice_control.arm_command import AppliedRecord, ArmCommand, SafetyEvent
from apprentice_control.arm_loop import ArmLoop
from apprentice_control.backend import ArmState
from apprentice_control.disturbance import Disturbance
from apprentice_control.estop import EstopLatch
from apprentice_control.loop_messages import ArmFacts, ArmOrder, ArmStatus
from apprentice_control.observation_delays import ObservationDelays
from apprentice_control.sim_clock import SimClock
from apprentice_control.state_sample import ArmSample, SceneSample
from apprentice_core.cell_factory import effective_limits, policy_action_space
from apprentice_core.config import CellConfig, RobotProfile, TaskConfig
from apprentice_core.errors import SafetyError
from apprentice_core.plugins import BACKENDS, load_plugin
from apprentice_core.spaces import ActionSpace, cartesian_velocity_gripper, joint_velocity_gripper

ESTOP_FILE = "estop.json"
ESTOP_QUIET = 1.0
"""s without a further request after which the cause of an emergency stop counts as gone (ours)"""

SETTLE_PERIODS = 3
"""control periods of rest after placing the objects in lockstep, as in SimCell (ours)"""


def claim(folder: Path) -> IO[str]:
    """The lock of a cell's state folder, held as long as the file is open; SafetyError when another arm_node has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "arm_node.lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise SafetyError(f"another arm_node (process {holder}) drives the cell with state folder {folder}") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


class ArmSession:
    """Hosts ArmLoop over a backend. In lockstep call `run_period`; in realtime call `cycle` every `backend.period` seconds."""

    def __init__(
        self, robot: RobotProfile, cell: CellConfig, task: TaskConfig, pace: str, seed: int, folder: Path,
        disturbance: Disturbance | None = None,
    ):
        self.robot, self.cell, self.task = robot, cell, task
        self.lockstep = pace == "lockstep"
        self._lock = claim(folder)
        self.backend: Any = load_plugin(BACKENDS, cell.backend)(robot, cell, task, seed)
        self.simulated = "lockstep" in self.backend.capabilities
        if self.lockstep and not self.simulated:
            self.backend.close()
            raise SafetyError(f"pace lockstep is refused for backend {cell.backend!r}: an arm of metal does not wait; use pace:=realtime")
        self.estop = EstopLatch(folder / ESTOP_FILE)
        self.limits = effective_limits(robot, cell, task)
        period = cell.timing.control_period
        self.loop = ArmLoop(
            robot, self.limits, self.backend, period, cell.timing.action_delay, self.estop, sliced=not self.lockstep
        )
        self.loop.disturb(disturbance)
        self.cycles = round(period / self.backend.period)
        self._delays = ObservationDelays(cell.timing, self.backend.period, seed)
        if self.lockstep and self._delays.most >= self.cycles:
            raise SafetyError("timing: observation_delay and jitter of a control period or more are for cells in one process (SimCell)")
        self._done = 0
        self._step_ns = round(self.backend.period * 1e9)
        self._clock = SimClock(folder / "clock") if self.lockstep else None
        self.last_request = float("-inf")
        self.scheduling = pace
        # A task's own, and those of the resets.
        spaces = (policy_action_space(self.limits, task), joint_velocity_gripper(robot.arm_joints), cartesian_velocity_gripper())
        self.spaces: dict[str, ActionSpace] = {s.hash: s for s in spaces}
        if not self.estop.latched:
            self.loop.engage()

    @property
    def scene(self) -> bool:
        return "scene" in self.backend.capabilities

    @property
    def facts(self) -> ArmFacts:
        objects = tuple(self.backend.world.objects()) if self.scene else ()
        return ArmFacts(tuple(self.backend.capabilities), objects, self.backend.period)

    @property
    def status(self) -> ArmStatus:
        loop, counters, estop = self.loop, self.loop.counters, self.estop
        return ArmStatus(
            loop.state, loop.reason, counters.clamps, counters.holds, counters.stops, estop.latched, estop.reason, estop.requested_by,
            estop.stamp, self.scheduling,
        )

    def now_ns(self) -> int:
        """Node time: sim time in lockstep, wall time otherwise."""
        return self._clock.now_ns if self._clock is not None else time.time_ns()

    # -- commands ----------------------------------------------------------------------------------------------------

    def obey(self, order: ArmOrder) -> None:
        """Hands an answer or a hold to the loop; an answer in a space that is not this arm's becomes a hold and an event."""
        if order.values is None:
            self.loop.hold(order.step_id, order.reason, order.episode_id, since=self._begun)
            return
        fault = self.submit(order.step_id, order.episode_id, order.source, order.space_hash, order.values)
        if fault:
            message = f"{order.source}: action space {order.space!r} ({order.space_hash}) is not one of this arm"
            self.loop.outbox.put(
                SafetyEvent(fault, "gate", "hold", order.step_id, order.episode_id, self.loop.measured_stamp, message=message)
            )

    def submit(self, step_id: int, episode_id: str, source: str, space_hash: str, values: Any) -> str:
        """Hands an answer to the loop; '' or why it is held instead."""
        space = self.spaces.get(space_hash)
        if space is None:
            self.loop.hold(step_id, "action_space", episode_id, source, self._begun)
            return "action_space"
        self.loop.submit(ArmCommand(step_id, episode_id, source, space, values), self._begun)
        return ""

    @property
    def _begun(self) -> float | None:
        """Loop time of the tick whose period is under way in lockstep; in realtime an answer counts from when it comes."""
        return self.loop.now - self._done * self.backend.period if self.lockstep else None

    def request_estop(self, reason: str, requested_by: str) -> None:
        self.last_request = time.monotonic()
        self.estop.latch(reason, requested_by, self.loop.stop)

    def reset_estop(self) -> None:
        """SafetyError while somebody still asks for the stop, or a contact force is still beyond the hard limit."""
        self.estop.reset(self._cause_gone)
        self.loop.engage()

    def _cause_gone(self) -> bool:
        state, loop = self.backend.read(), self.loop
        # Read afresh: a stopped loop measures nothing, so its last wrench is that of the moment of the stop.
        wrench = loop.wrench_filter.compensate(state.wrench, loop.kinematics.sensor_rotation(state.position)) - loop.wrench_filter.bias
        quiet = time.monotonic() - self.last_request >= ESTOP_QUIET
        return quiet and not loop.force_gate.violates(*wrench[:3].tolist())

    def tare(self) -> None:
        """Makes what the force sensor reads the zero; SafetyError when the arm moves or nothing was measured yet."""
        if not self.loop.tare():
            raise SafetyError("cannot tare: the arm moves, or no wrench was measured yet")

    def reset_scene(self, initial_state: str, seed: int | None) -> str:
        """Simulation: places the objects; the arm stays where it is. Returns the description; ApprenticeError for an unknown start."""
        self.backend.world.reset_scene(initial_state, seed)
        if self.lockstep:
            # Standing still, so that what follows bears a later stamp than anything before, and until the objects rest and may sleep.
            for _ in range(SETTLE_PERIODS):
                self.loop.hold(0, "scene_reset", "")
                self.run_period(self.cycles, lambda _: None)
            self.backend.world.sleep()
        return str(self.backend.world.description())

    # -- time --------------------------------------------------------------------------------------------------------

    def cycle(self) -> None:
        """One period of the backend: read, check, command; in simulation the physics step as well."""
        self.loop.tick()
        if self.simulated:
            self.backend.advance()
        if self._clock is not None:
            self._clock.advance(self._step_ns)

    def next_delay(self) -> int:
        """Cycles before the end of the coming period at which the observation that follows is acquired, drawn where it varies."""
        return self._delays.draw()

    def run_ahead(self, every: int, on_sample: Callable[[ArmSample], None]) -> None:
        """In lockstep: what of the next period no order can change, since orders take effect `action_delay` after the tick."""
        free = min(round(self.loop.action_delay / self.backend.period), self.cycles - self._delays.most) - 1
        while self._done < free:
            self._next_cycle(every, on_sample)

    def run_period(
        self, every: int, on_sample: Callable[[ArmSample], None], late: int = 0, on_observed: Callable[[], None] = lambda: None
    ) -> AppliedRecord | None:
        """One control period in lockstep, or what is left of it. `on_sample` gets the state every `every` cycles but for the last;
        instead, `late` cycles before the end, `on_observed` is called: that moment is what the next tick will show."""
        while self._done < self.cycles:
            self._next_cycle(every, on_sample, late, on_observed)
        self._done = 0
        return self.loop.applied()

    def _next_cycle(
        self, every: int, on_sample: Callable[[ArmSample], None], late: int = 0, on_observed: Callable[[], None] = lambda: None
    ) -> None:
        self.cycle()
        self._done += 1
        if self._done == self.cycles - late:
            on_observed()
        elif self._done % every == 0 and self._done < self.cycles:
            on_sample(self.measure_between())

    # -- state -------------------------------------------------------------------------------------------------------

    def measure(self, tool: bool) -> ArmSample:
        """The state now, freshly read; with the pose and twist of the tool where asked for."""
        s = self.backend.read()
        pose, twist = self.loop.kinematics.tool(s.position, s.velocity) if tool else (None, None)
        return self._sample(self.now_ns(), s, pose, twist)

    def measure_between(self) -> ArmSample:
        """As `measure`, without the twist: between two observations it is nobody's, and a Jacobian dear."""
        s = self.backend.read()
        return self._sample(self.now_ns(), s, self.loop.kinematics.tool_pose(s.position), None)

    def seen(self, stamp: int) -> ArmSample:
        """The state as the last cycle, begun at `stamp`, has read it, without the tool; read afresh where it did not (stopped)."""
        return self._sample(stamp, self.loop.raw or self.backend.read(), None, None)

    @staticmethod
    def _sample(stamp: int, s: ArmState, pose: np.ndarray | None, twist: np.ndarray | None) -> ArmSample:
        return ArmSample(
            stamp, s.position, s.velocity, s.effort, s.gripper_position, s.gripper_velocity, s.gripper_effort, s.wrench, pose, twist
        )

    def scene_sample(self, described: bool) -> SceneSample:
        """Simulation: snapshot and privileged state; with the whole description where `described`."""
        world = self.backend.world
        joints, poses = world.snapshot()
        connection = self.backend.connection
        told = None if connection is None else connection.connected()
        return SceneSample(self.now_ns(), world.version, joints, poses, world.objects(), world.description() if described else "", told)

    def close(self) -> None:
        self.backend.close()
        self._lock.close()
