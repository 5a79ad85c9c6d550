"""`run_episode` as a machine without ROS: reset, run, commit. One episode at a time; every wait has a steady-clock limit.

The script of an episode is a generator that yields what it waits for; each event and each poll tries to go on. Nothing blocks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, get_args

import numpy as np

from apprentice_core.cell import OPERATOR_NEEDED, ResetMode
from apprentice_core.episode import EpisodeContext, EpisodeKind, EpisodeOutcome, new_episode_id
from apprentice_core.scheduler import Scheduler, SingleTask, goal_of, start_of, start_turn_of
from apprentice_runtime.arrival import failed_reset
from apprentice_runtime.episode_run import EpisodeRun, RunEnd, RunOutput, RunRules
from apprentice_runtime.tick import EventData

Script = Generator[Callable[[], bool], None, None]
RESET_MODES = get_args(ResetMode)


@dataclass(frozen=True)
class Goal:
    """RunEpisode's goal. source: `base` or `base+residual`; steps 0: the task's horizon; seed None: drawn, unless the start is
    named."""

    task: str
    source: str
    reset_mode: ResetMode = "full"
    initial_state: str = ""
    seed: int | None = None
    steps: int = 0
    end_on_success: bool = False
    record: bool = True
    continues: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeResult:
    """RunEpisode's result. `ok` is False when there is no episode to speak of: `message` says why."""

    ok: bool
    message: str = ""
    episode_id: str = ""
    path: str = ""
    success: bool = False
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    steps: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Committed:
    """The recorder's word that an episode is on disk, or why not."""

    episode_id: str
    ok: bool
    path: str
    message: str
    lost: int


@dataclass(frozen=True)
class MachineRules:
    """Seconds of the steady clock; all ours."""

    run: RunRules = RunRules()
    horizon: int = 200
    reset_source: str = "reset"
    reset_steps: int = 150
    reset_tries: int = 3
    ready_timeout: float = 30.0
    service_timeout: float = 20.0
    commit_timeout: float = 30.0
    operator_timeout: float = 600.0
    scene: bool = True
    """the cell can place its own objects (simulation)"""


class EpisodePorts(RunOutput, Protocol):
    """What the machine asks of its shell. Answers come back through the machine's `on_...` methods."""

    def event(self, data: EventData) -> None: ...

    def reset_scene(self, task: str, initial_state: str, seed: int) -> None:
        """`seed` -1: a named start, which needs none."""
        ...

    def tare(self) -> bool:
        """Asks for it; False where nobody offers it."""
        ...

    def stand(self) -> None:
        """Lets the world go on for one period while nobody drives."""
        ...

    def fresh(self) -> None:
        """The next first observation must be newer than all that is there now."""
        ...

    def settled(self) -> bool:
        """A complete observation of a still world is there."""
        ...

    def lacking(self) -> tuple[str, ...]:
        """Streams without which the observation is not complete."""
        ...

    def home_error(self, goal: Goal) -> str:
        """'' when the arm is at home, or at the goal's start, and still; else what is wrong."""
        ...

    def not_ready(self, goal: Goal) -> str:
        """'' when recorder and source are connected, else who is missing."""
        ...

    def phase(self, phase: str) -> None: ...

    def finished(self, result: EpisodeResult) -> None: ...


class _Failed(Exception):
    pass


class EpisodeMachine:
    """Accepts one goal at a time. The shell calls `poll(now)` often (steady seconds) and hands in what arrives."""

    def __init__(self, rules: MachineRules, ports: EpisodePorts, reward_sources: tuple[str, ...] = (), seed: int | None = None):
        self.rules, self.ports, self.reward_sources = rules, ports, reward_sources
        self.scheduler: Scheduler = SingleTask()
        self.run: EpisodeRun | None = None
        self.goal: Goal | None = None
        self.current_phase = ""
        self._random = np.random.default_rng(seed)
        self._ids = itertools.count(time.time_ns())
        self._script: Script | None = None
        self._wait: Callable[[], bool] | None = None
        self._now = 0.0
        self._scene: tuple[bool, str] | None = None
        self._tared = False
        self._committed: dict[str, Committed] = {}
        self._confirmed = False
        self._cancelled = ""
        self._result = EpisodeResult(False)

    # goals

    @property
    def busy(self) -> bool:
        return self._script is not None

    def refusal(self, goal: Goal, tasks: tuple[str, ...], sources: tuple[str, ...]) -> str:
        """'' or why the goal is refused, in one line."""
        if self.busy:
            return "an episode is running; one at a time"
        if goal.task not in tasks:
            return f"task {goal.task!r} is unknown here; known: {', '.join(tasks)}"
        unknown = [s for s in goal.source.split("+") if s not in sources]
        if unknown:
            return f"source {unknown[0]!r} is unknown; known: {', '.join(sources)}"
        if goal.reset_mode not in RESET_MODES:
            return f"reset_mode {goal.reset_mode!r} is not one of {', '.join(RESET_MODES)}"
        if goal.reset_mode == "scene" and not self.rules.scene:
            return "reset_mode 'scene': this cell cannot place its objects"
        try:
            goal_of(goal.metadata)
            start_of(goal.metadata)
            start_turn_of(goal.metadata)
        except ValueError as error:
            return f"metadata: {error}"
        return ""

    def start(self, goal: Goal, now: float) -> None:
        if self.busy:
            raise RuntimeError("an episode is running")
        self.goal, self._now, self._cancelled, self._confirmed = goal, now, "", False
        self._result = EpisodeResult(False)
        self._script, self._wait = self._main(goal), None
        self._resume()

    def cancel(self, reason: str = "cancelled", success: int = -1) -> bool:
        """Ends the episode at its next observation (an operator's judgement may come along). False when there is none."""
        if not self.busy:
            return False
        self._cancelled = self._cancelled or reason
        if self.run is not None and not self.run.ended:
            self.run.request_end(reason, success)
        self._resume()
        return True

    # what comes in

    def poll(self, now: float) -> None:
        self._now = now
        if self.run is not None:
            self.run.poll(now)
        self._resume()

    def on_scene(self, ok: bool, message: str) -> None:
        self._scene = (ok, message)
        self._resume()

    def on_tared(self) -> None:
        self._tared = True
        self._resume()

    def on_committed(self, committed: Committed) -> None:
        self._committed[committed.episode_id] = committed
        self._resume()

    def on_operator(self) -> bool:
        """The operator says that the scene is ready. False when nobody asked."""
        asked = self.current_phase == "resetting" and self.goal is not None and self.goal.reset_mode == "operator"
        self._confirmed = self._confirmed or asked
        self._resume()
        return asked

    def advance(self) -> None:
        """To be called after anything was handed to `run`."""
        self._resume()

    # the script

    def _resume(self) -> None:
        while self._script is not None and (self._wait is None or self._wait()):
            script = self._script
            try:
                self._wait = next(script)
            except StopIteration:
                self._done(self._result)
            except _Failed as failed:
                self._done(EpisodeResult(False, str(failed), reason=self._cancelled or "failed"))

    def _done(self, result: EpisodeResult) -> None:
        self._script, self._wait, self.run = None, None, None
        self._enter("")
        self.ports.finished(result)

    def _enter(self, phase: str) -> None:
        if phase != self.current_phase:
            self.current_phase = phase
            if phase:
                self.ports.phase(phase)

    def _until(self, condition: Callable[[], bool], limit: float, what: Callable[[], str]) -> Script:
        deadline, met = self._now + limit, False

        def over() -> bool:
            nonlocal met
            met = met or condition()
            return met or self._now > deadline or bool(self._cancelled)

        yield over
        # Not asked again: of the graph, whose members come and go, the next look may say otherwise.
        if not met:
            raise _Failed(self._cancelled or what())

    def _main(self, goal: Goal) -> Script:
        self._enter("resetting")
        yield from self._until(
            lambda: not self.ports.not_ready(goal), self.rules.ready_timeout, lambda: f"not ready: {self.ports.not_ready(goal)}"
        )
        if goal.seed is None and not goal.initial_state:
            goal = replace(goal, seed=int(self._random.integers(2**31)))
        began = self._now
        tries = 0
        if goal.reset_mode in ("robot", "full"):
            tries = yield from self._home(goal)
        if goal.reset_mode in ("scene", "full") and self.rules.scene:
            self.ports.fresh()
            self._scene = None
            self.ports.reset_scene(goal.task, goal.initial_state, -1 if goal.seed is None else goal.seed)
            yield from self._until(lambda: self._scene is not None, self.rules.service_timeout, lambda: "scene/reset did not answer")
            ok, message = self._scene or (False, "")
            if not ok:
                raise _Failed(f"scene/reset: {message}")
            # What hangs in the hand may be another than before: the force sensor is zeroed on samples of the new one alone.
            yield from self._stand()
        if goal.reset_mode == "operator":
            yield from self._until(lambda: self._confirmed, self.rules.operator_timeout, lambda: "no operator confirmed the reset")
        if goal.reset_mode in ("robot", "full") and self.ports.tare():
            self._tared = False
            yield from self._until(lambda: self._tared, self.rules.service_timeout, lambda: "tare did not answer")
            # And the first observation is one that was zeroed (spec 001c B13).
            yield from self._stand()
        yield from self._settle()
        self._enter("running")
        duration = round(self._now - began, 3)
        reset = {"tries": tries, "duration": duration}
        end, episode_id = yield from self._run("episode", goal, goal.source, goal.steps or self.rules.horizon, goal.reset_mode, reset)
        committed = yield from self._commit(goal, episode_id)
        self._result = EpisodeResult(
            committed.ok if committed else True, committed.message if committed else "", episode_id, committed.path if committed else "",
            end.success == 1, end.terminated, end.truncated, end.reason, end.steps, committed.lost if committed else 0,
        )

    def _stand(self) -> Script:
        """One period in which nobody drives, and what it has shown."""
        self.ports.fresh()
        self.ports.stand()
        yield from self._settle()

    def _settle(self) -> Script:
        """Waits for a complete, still observation; a standing world is moved on while one is lacking."""
        for attempt in range(7):
            # The waits grow: a slow camera is waited for, and a message that never comes costs little.
            deadline = self._now + 3 * self.rules.run.period * 2.0**attempt
            yield lambda: self.ports.settled() or self._now > deadline or bool(self._cancelled)  # noqa: B023 - read before the next turn
            if self._cancelled:
                raise _Failed(self._cancelled)
            if self.ports.settled():
                return
            self.ports.stand()
        lacking = ", ".join(self.ports.lacking()) or "the cell spec"
        raise _Failed(f"the streams of the cell are not complete ({lacking}): is every camera and force node running?")

    def _home(self, goal: Goal) -> Generator[Callable[[], bool], None, int]:
        error = ""
        for attempt in range(1, self.rules.reset_tries + 1):
            yield from self._settle()
            _, episode_id = yield from self._run("reset", goal, self.rules.reset_source, self.rules.reset_steps, "none", {"try": attempt})
            yield from self._commit(goal, episode_id)
            if self._cancelled:
                raise _Failed(self._cancelled)
            error = self.ports.home_error(goal)
            if not error:
                return attempt
            if error.startswith(OPERATOR_NEEDED):
                raise _Failed(error)
        raise _Failed(failed_reset(self.rules.reset_tries, error, goal.metadata))

    def _run(
        self, kind: EpisodeKind, goal: Goal, source: str, horizon: int, mode: ResetMode, reset: Mapping[str, Any]
    ) -> Generator[Callable[[], bool], None, tuple[RunEnd, str]]:
        episode = kind == "episode"
        sources = tuple(source.split("+"))
        rewards = self.reward_sources if episode else ()
        metadata = {
            "deterministic": True, **goal.metadata, "horizon": horizon, "record": goal.record, "tags": list(goal.tags),
            "reset": dict(reset),
            "pace": "lockstep" if self.rules.run.lockstep else "realtime", "reward_sources": list(rewards),
        }
        context = EpisodeContext(
            new_episode_id(), goal.task, kind, goal.seed, source, goal.initial_state, horizon, bool(metadata["deterministic"]), metadata
        )
        segment = self.scheduler.begin(context)
        self.run = run = EpisodeRun(
            context, segment, sources, rewards, self.rules.run, self._ids, self.ports, episode and goal.end_on_success
        )
        if self._cancelled:
            run.request_end(self._cancelled)
        event = EventData(
            "start", 0, context.episode_id, kind, goal.task, source, mode, goal.initial_state, goal.seed, goal.continues, "", metadata,
            segment,
        )
        self.ports.event(event)
        yield lambda: run.ended is not None
        end = cast(RunEnd, run.ended)
        stamp = end.tick.stamp if end.tick else 0
        self.ports.event(replace(
            event, event="end", stamp=stamp, bundle_id=run.bundle_id, parts=end.tick.parts if end.tick else (), steps=end.steps,
            terminated=end.terminated, truncated=end.truncated, reason=end.reason, success=end.success,
        ))
        self.scheduler.end(EpisodeOutcome(end.terminated, end.truncated, end.reason, None if end.success < 0 else bool(end.success)))
        if run.in_flight and self.rules.run.lockstep:
            deadline = self._now + self.rules.run.answer_timeout
            yield lambda: not run.in_flight or self._now > deadline
            if run.in_flight:
                # Its source heard of the end first, and says no more. To an arm that still waits, nobody could say that nobody drives.
                run.close_open_tick()
                deadline = self._now + self.rules.run.arm_timeout
                yield lambda: not run.in_flight or self._now > deadline
        self.run = None
        return end, context.episode_id

    def _commit(self, goal: Goal, episode_id: str) -> Generator[Callable[[], bool], None, Committed | None]:
        if not goal.record:
            return None
        phase = self.current_phase
        self._enter("committing" if phase == "running" else phase)
        deadline = self._now + self.rules.commit_timeout
        yield lambda: episode_id in self._committed or self._now > deadline
        found = self._committed.pop(episode_id, None)
        self._committed.clear()
        return found or Committed(episode_id, False, "", f"the recorder did not commit within {self.rules.commit_timeout:g} s", 0)
