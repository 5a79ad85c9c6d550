"""SimCell: a simulated cell in this process (contract 1), through the same ArmLoop as the robot's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apprentice_control.arm_command import AppliedRecord, ArmCommand
from apprentice_control.arm_loop import ArmLoop
from apprentice_control.disturbance import disturbance_of
from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import GripCheck, HomeReset, RandomWatcher, ToolReset, make_expert
from apprentice_core.cell import (
    OPERATOR_NEEDED,
    ActionSource,
    EpisodeRef,
    EpisodeRequest,
    EpisodeSink,
    ResetRequest,
    ResetResult,
    StepResult,
)
from apprentice_core.cell_factory import choose_cameras, effective_limits, make_cell_spec
from apprentice_core.config import CellConfig, TaskConfig, load_cell, load_robot, load_task
from apprentice_core.episode import (
    EpisodeContext,
    EpisodeKind,
    EpisodeOutcome,
    RewardValue,
    Segment,
    StepRecord,
    new_episode_id,
)
from apprentice_core.errors import ApprenticeError
from apprentice_core.mixing import mix
from apprentice_core.reward import RewardBatch, RewardSource, reward_values
from apprentice_core.scheduler import SingleTask, start_pose_of
from apprentice_core.spaces import ActionSpace, Observation, observation_digest
from apprentice_core.tasks import ScriptedReward, make_task
from apprentice_sim.observer import Capture, Observer
from apprentice_sim.placing import ToolPlacing
from apprentice_sim.pybullet_backend import PyBulletBackend
from apprentice_sim.scenes import make_scene
from apprentice_sim.tracked_objects import TrackedObjects
from apprentice_sim.world import World, WorldState

Arrays = dict[str, np.ndarray]
ABORTS = ("retreat", "stop")
STALE = "sensor_stale"
NOT_HOME = "the arm did not get home"
FULL_RESET = ResetRequest("full")
RESET_STEPS = 120
"""control periods that the way home may take (ours)"""
SETTLE_STEPS = 3
"""control periods of rest after placing the objects (ours)"""


class SimCell:
    """Contract Cell. Sources act in this process; every action goes through the ArmLoop, 1 kHz inside.

    `sources`: name -> ActionSource; `expert` and `random_watcher` are there unless given otherwise. `cameras`: `agent`, `all`, names, or
    False for none. `rewards`: the task's scripted reward where None. `sink` takes episodes (and resets, with `record_resets`).
    `drive_resets` False puts an arm that holds something at its start at once, which halves the time of a short episode.
    """

    def __init__(
        self, cell: CellConfig | str = "sawyer_lift", task: TaskConfig | str = "lift", seed: int = 0,
        sources: Mapping[str, ActionSource] | None = None, rewards: Sequence[RewardSource] | None = None,
        sink: EpisodeSink | None = None, cameras: str | Sequence[str] | bool = "agent", record_resets: bool = False,
        drive_resets: bool = True,
    ):
        self.cell = load_cell(cell) if isinstance(cell, str) else cell
        self.task_config = load_task(task) if isinstance(task, str) else task
        self.profile = load_robot(self.cell.robot)
        self.task = make_task(self.task_config)
        self.sink, self.record_resets, self.drive_resets = sink, record_resets, drive_resets
        self.rewards = [ScriptedReward(self.task)] if rewards is None else list(rewards)
        self._rng = np.random.default_rng(seed)
        wanted = cameras if not isinstance(cameras, bool) else "agent" if cameras else "none"
        names = choose_cameras(self.cell, self.task_config, wanted)
        self._scene = scene = make_scene(self.cell.scene, self.task_config)
        self.world = World(self.profile, rate=self.cell.physics_rate, scene=scene)
        self.backend = PyBulletBackend(self.profile, self.world)
        timing = self.cell.timing
        limits = effective_limits(self.profile, self.cell, self.task_config)
        self.loop = ArmLoop(self.profile, limits, self.backend, timing.control_period, timing.action_delay)
        connection = self.backend.connection if self.cell.connection else None
        tracked = TrackedObjects(self.world, self.cell, self.task_config) if self.cell.poses == "tracked" else None
        self.observer = Observer(self.loop, self.backend, {n: self.cell.cameras[n] for n in names}, timing, seed, connection, tracked)
        self.spec = make_cell_spec(
            self.profile, self.cell, self.task_config, names, scene.tracked,
            sorted(PyBulletBackend.capabilities | {"render_goal"}),
        )
        space, period = self.spec.action_space, timing.control_period
        self.sources: dict[str, ActionSource] = {}
        self._holds = not space.dimensions[-1].binary
        if not self._holds:
            self.sources["expert"] = make_expert(self.profile, self.task_config, space, period, seed=seed)
            self.sources["random_watcher"] = RandomWatcher(self.profile, period, space, seed)
        self.sources.update(sources or {})
        kinematics = Kinematics(self.profile)
        reset = ToolReset if self._holds else HomeReset
        self._home: ToolReset | HomeReset = reset(self.profile, kinematics, period)
        self._placing, self._grip = ToolPlacing(self.profile, kinematics), GripCheck(self.profile, self.task_config.target)
        self._steps_per_period = round(period / self.backend.period)
        self._step_id = time.time_ns()
        self._first: Arrays = {}
        self._first_observation: Observation = {}
        self._steps, self._length = 0, self.task_config.horizon
        self.goal: Mapping[str, np.ndarray] = {}
        """what rewards are told is pursued: the segment's goal in an episode; `step` leaves it as it is"""
        self._home_joints: list[float] = list(self.profile.home)
        self.world.set_robot(self._start_joints(None), self.profile.gripper.open)
        self.loop.engage()
        self.world.reset_scene(seed=int(self._rng.integers(2**31)))
        self._rest(SETTLE_STEPS)
        self._home_joints = self.backend.read().position.tolist()
        self._begin(self.task_config.horizon)

    # -- state -------------------------------------------------------------------------------------------------------

    def observe(self) -> Observation:
        """What a policy sees now (delayed by the timing of the cell)."""
        return self.observer.current.observation

    def privileged(self) -> Arrays:
        """object/<name>/pose [7] and /twist [6], float32, at this moment."""
        return self.observer.privileged()

    def save_state(self) -> WorldState:
        return self.world.save_state()

    def restore_state(self, state: WorldState) -> None:
        """The physics goes back; the loop starts anew from there. ApprenticeError when the objects are others."""
        self.world.restore_state(state)
        self.loop.engage()
        self.observer.restart()

    def render_goal(self, state: WorldState) -> Arrays:
        """camera/<name> -> image of a saved state; the present state is kept."""
        return self.observer.draw(state)

    def close(self) -> None:
        self.backend.close()

    # -- reset -------------------------------------------------------------------------------------------------------

    def reset(self, request: ResetRequest = FULL_RESET, start: Sequence[float] | np.ndarray | None = None) -> ResetResult:
        """Robot home by HomeReset through the loop, then objects placed and checked; at most three tries.

        Where the gripper holds something, ToolReset withdraws it and the tool goes to `start` ([3] m, or [6] with a turn), by default the
        scene's own; a reset of the scene puts it into the hand anew, one of the robot alone checks the grip. Mode `operator` is the help
        of a person, who takes out by hand what is held and jammed; where nothing is held nobody can help.
        """
        begun = time.perf_counter()
        if request.mode == "operator" and not self._holds:
            return ResetResult(False, 0, 0.0, "no operator stands at this simulated cell")
        reason, tries = "", 1
        seed = int(self._rng.integers(2**31)) if request.seed is None else request.seed
        for tries in range(1, 4) if request.mode != "none" else ():
            reason = self._reset_once(request, seed + (tries - 1) * 1_000_003, start)
            if not reason or reason.startswith(OPERATOR_NEEDED):
                break
        self._begin(self.task_config.horizon)
        reason = reason or "".join(f"the tracker does not see {n}" for n in self.observer.current.lost[:1])
        return ResetResult(not reason, tries, time.perf_counter() - begun, reason)

    def _reset_once(self, request: ResetRequest, seed: int, start: Sequence[float] | np.ndarray | None = None) -> str:
        """'' when the reset is verified, else what is wrong."""
        if request.mode in ("robot", "full", "operator"):
            self.loop.engage()
            home = self._start_joints(start)
            driven = request.mode != "operator" and (self.drive_resets or not self._holds)
            if driven and (reason := self._drive_home(home)):
                return reason
            # What is left of the approach (micrometres) would make a start depend on the episode before it.
            if not self._holds or request.mode != "robot":
                self.world.set_robot(home, self.profile.gripper.open)
            self.loop.engage()
        if request.mode in ("scene", "full", "operator"):
            self.world.reset_scene(request.initial_state, seed)
        placed = self.world.objects()
        self._rest(SETTLE_STEPS)
        self.world.sleep()
        self.loop.tare()
        if request.mode == "robot":
            return self._grip.fault(self.observer.proprioception(), self.privileged()) if self._holds else ""
        if self._holds:
            self._grip.remember(self.observer.proprioception(), self.privileged())
        for name, (pose, twist) in self.world.objects().items():
            if np.linalg.norm(pose[:3] - placed[name][0][:3]) > 0.005 or np.linalg.norm(twist[:3]) > 0.02:
                return f"object {name} does not rest where it was placed"
        return ""

    def _drive_home(self, joints: Sequence[float]) -> str:
        """'' once the arm is there, else why it is not."""
        metadata = {"start": self._placing.start(joints)}
        request = EpisodeRequest(self.task_config.name, self._home.name, ResetRequest("none"), metadata=metadata)
        context = self._context("reset", self._home.name, request, RESET_STEPS, None)
        if self.sink is not None and self.record_resets:
            self._begin(RESET_STEPS)
            ended = self._roll(context, (self._home,), self.sink, False).reason
            return getattr(self._home, "failure", "") or ("" if ended == "source_done" else NOT_HOME)
        self._home.reset(context)
        for _ in range(RESET_STEPS):
            answer = self._home.act(self.observer.proprioception(), Segment(mode="reset"))
            if answer.request_end:
                return answer.fault
            self._advance(answer.values, self._home.action_space, self._home.name, context.episode_id, look=False)
        return NOT_HOME

    def _start_joints(self, start: Sequence[float] | np.ndarray | None) -> list[float]:
        """Where the arm is to be before an episode: home, or with its tool at `start`, or where the scene wants it."""
        wanted = self._scene.tool_start if start is None else start
        return self._home_joints if wanted is None else self._placing.joints(wanted).tolist()

    def _rest(self, periods: int) -> None:
        """Nobody drives; a gripper that the policy commands opens."""
        values = self.spec.action_space.neutral()
        if self.spec.action_space.dimensions[-1].binary:
            values[-1] = -1.0
        for _ in range(periods):
            self._advance(values, self.spec.action_space, "reset", "", look=False)

    def _begin(self, length: int) -> None:
        self.observer.restart()
        now = self.observer.current
        self._first, self._first_observation = now.privileged, now.observation
        self._steps, self._length = 0, length

    # -- stepping ----------------------------------------------------------------------------------------------------

    def _advance(self, values: np.ndarray, space: ActionSpace, source: str, episode_id: str, look: bool = True) -> AppliedRecord:
        """One control period under an answer; captures the next observation on the way if `look`."""
        self._step_id += 1
        loop, backend, n = self.loop, self.backend, self._steps_per_period
        at = self.observer.next_capture(n) if look else n + 1
        loop.submit(ArmCommand(self._step_id, episode_id, source, space, values))
        for i in range(1, n + 1):
            loop.tick()
            backend.advance()
            if i == at:
                self.observer.take()
        applied = loop.applied()
        if applied is None:
            # With an action delay of a whole period or more nothing has taken effect yet.
            now, still = time.time_ns(), space.neutral()
            late = "action_delay"
            return AppliedRecord(self._step_id, episode_id, source, "hold", late, still, still.copy(), [], now, now, backend.stamp)
        return applied

    def step(self, action: np.ndarray) -> StepResult:
        """One control period; `action` is normalised, in the spec's space. Truncates on a safety abort and at the horizon."""
        seen = self.observer.current
        before, observed = seen.observation, seen.privileged
        values, fault = self.spec.action_space.clean(action)
        applied = self._advance(values, self.spec.action_space, "step", "")
        privileged = self.observer.current.privileged
        rewards = self._rewards(before, applied.executed, observed, privileged)
        self._steps += 1
        aborted = applied.outcome in ABORTS or bool(self.observer.current.lost)
        info = {"success": any(r.success for r in rewards.values()), "outcome": applied.outcome, "fault": fault}
        return StepResult(
            self.observe(), {k: r.value for k, r in rewards.items()}, any(r.terminal for r in rewards.values()),
            aborted or self._steps >= self._length, applied.reason, applied.executed, privileged, info,
        )

    def _rewards(self, before: Observation, executed: np.ndarray, observed: Arrays, privileged: Arrays) -> dict[str, RewardValue]:
        def one(arrays: Mapping[str, np.ndarray]) -> Arrays:
            return {k: v[None] for k, v in arrays.items()}

        out: dict[str, RewardValue] = {}
        count = np.array([self._steps]), np.array([self._length])
        seen = {"privileged": one(observed), "next_privileged": one(privileged), "first_privileged": one(self._first)}
        after, told = one(self.observe()), dict[str, Any](goal=one(self.goal), first=one(self._first_observation))
        for source in self.rewards:
            batch = RewardBatch(one(before), executed[None], after, *count, **(told | seen if source.needs_privileged else told))
            out |= reward_values(source, batch)
        return out

    # -- episodes ----------------------------------------------------------------------------------------------------

    def run(self, request: EpisodeRequest) -> EpisodeRef:
        """One episode driven by `request.source`, `base+residual` for a sum; ApprenticeError for an unknown source or another task."""
        unknown = [n for n in request.source.split("+") if n not in self.sources]
        if unknown:
            raise ApprenticeError(f"no source named {unknown[0]!r}; known: {', '.join(self.sources)}")
        if request.task not in ("", self.task_config.name):
            raise ApprenticeError(f"this cell was set up for task {self.task_config.name}, not {request.task}")
        seed = request.reset.seed
        if seed is None and not request.reset.initial_state:
            seed = int(self._rng.integers(2**31))
        result = self.reset(ResetRequest(request.reset.mode, request.reset.initial_state, seed), start_pose_of(request.metadata))
        if not result.ok:
            return EpisodeRef("", "", 0, False, False, True, f"reset_failed: {result.reason}")
        steps = request.steps or self.task_config.horizon
        self._begin(steps)
        context = self._context("episode", request.source, request, steps, seed)
        sources = tuple(self.sources[n] for n in request.source.split("+"))
        return self._roll(context, sources, self.sink if request.record else None, request.end_on_success)

    def _context(self, kind: EpisodeKind, source: str, request: EpisodeRequest, steps: int, seed: int | None) -> EpisodeContext:
        # What is learned on top of a base controller holds for that controller only (spec 001c section 2.2).
        base = getattr(self.sources.get(source.split("+")[0]), "base_hash", "")
        metadata = {
            **self._scene.facts(), **({"base_hash": base} if base else {}),
            "reset_mode": request.reset.mode, "continues": request.continues, "tags": list(request.tags), "horizon": steps,
            "pace": "in_process", "reward_sources": [r.name for r in self.rewards], "record": request.record, "deterministic": True,
            **request.metadata,
        }
        start, deterministic = request.reset.initial_state, bool(metadata["deterministic"])
        return EpisodeContext(new_episode_id(), self.task_config.name, kind, seed, source, start, steps, deterministic, metadata)

    def _roll(
        self, context: EpisodeContext, sources: tuple[ActionSource, ...], sink: EpisodeSink | None, end_on_success: bool
    ) -> EpisodeRef:
        """The first of `sources` is the base, the others are its residuals."""
        scheduler = SingleTask()
        segment = scheduler.begin(context)
        self.loop.disturb(disturbance_of(context.metadata, self.task_config.action, context.seed) if context.kind == "episode" else None)
        for source in sources:
            source.reset(context)
        if sink is not None:
            sink.start(context, self.spec)
        outcome, success = EpisodeOutcome(False, True, "horizon"), False
        try:
            for step in range(context.horizon):
                capture = self.observer.current
                if capture.lost:  # on the nodes their streams fall silent
                    outcome = EpisodeOutcome(False, True, STALE)
                    break
                self.goal = segment.goal
                record = self._one_step(step, capture, segment, context, sources, end_on_success)
                if record is None:
                    outcome = EpisodeOutcome(False, True, "source_done")
                    break
                if sink is not None:
                    sink.step(capture.observation, record, capture.stamp)
                # What stands at the end counts, as on the nodes: to have passed through a successful state is none.
                success = any(r.success for r in record.rewards.values())
                if record.discount == 0.0:
                    outcome = EpisodeOutcome(True, False, "success" if success else "terminal")
                    break
                if record.outcome in ABORTS:
                    # The arm left, not the task: what it was worth to go on is still to be estimated (spec 001c section 1.2).
                    outcome = EpisodeOutcome(False, True, record.reason)
                    break
                segment = scheduler.next(self.observe(), {k: r.value for k, r in record.rewards.items()}) or segment
            outcome = EpisodeOutcome(outcome.terminated, outcome.truncated, outcome.reason, success if context.kind == "episode" else None)
            scheduler.end(outcome)
            path = "" if sink is None else sink.end(self.observe(), outcome, self.observer.current.stamp)
        except BaseException:
            abort = getattr(sink, "abort", None)
            if abort is not None:
                abort("interrupted")
            raise
        finally:
            self.loop.disturb(None)
        return EpisodeRef(context.episode_id, path, self._steps, success, outcome.terminated, outcome.truncated, outcome.reason)

    def _one_step(
        self, step: int, seen: Capture, segment: Segment, context: EpisodeContext, sources: tuple[ActionSource, ...], end_on_success: bool,
    ) -> StepRecord | None:
        """Asks, acts, rewards. None: a source has asked to end."""
        observation, observed = seen.observation, seen.privileged
        first = sources[0]
        space: ActionSpace = getattr(first, "action_space", self.spec.action_space)
        received = time.time_ns()
        answers = [s.act(observation, segment, observed if s.needs_privileged else None) for s in sources]
        answered = time.time_ns()
        if any(a.request_end for a in answers):
            return None
        values, fault = space.clean(answers[0].values)
        mixed = mix(replace(answers[0], values=values, fault=answers[0].fault or fault), answers[1:])
        assert mixed is not None
        zero = np.zeros(space.size, dtype=np.float32)
        applied = self._advance(mixed.values, space, first.name, context.episode_id)
        privileged = self.observer.current.privileged
        rewards = self._rewards(observation, applied.executed, observed, privileged)
        self._steps += 1
        ends = any(r.terminal or (end_on_success and r.success) for r in rewards.values())
        return StepRecord(
            step_id=self._step_id, step=step, stamp=seen.stamp, segment=segment, actor=first.name,
            actions={
                "source": mixed.base, "base": mixed.base if len(sources) > 1 else zero, "residual": mixed.residual, "noise": mixed.noise,
                "mixed": mixed.values, "executed": applied.executed,
            },
            action_space=space.name, action_space_hash=space.hash, discount=0.0 if ends else 1.0, rewards=rewards, outcome=applied.outcome,
            reason=applied.reason, privileged=observed, next_privileged=privileged, stages=applied.stages,
            bundle_id=next((s.bundle_id for s in reversed(sources) if s.bundle_id), ""),
            digest=observation_digest(observation), fault=mixed.fault, received=received, inference_start=received,
            inference_end=answered, sent=answered, applied=applied.applied,
        )
