"""One episode as a machine without ROS: ticks go out, answers come in, joined steps go out, and it ends once, with a reason.

It is the same for both paces. The shell says when an observation is there (`observed`) and what time it is (`poll`, steady
seconds); nothing here blocks or reads a clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from apprentice_core.assembler import Part
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.statistics import percentile
from apprentice_runtime.tick import EMPTY, Answer, AppliedAnswer, RewardAnswer, StepData, TickPlan

OVERTAKEN_AFTER = 2.0
"""periods after the next tick by which the arm has told of a held step, if it has had it (ours)"""
SAFETY_REASONS = {"retreat": "force_limit", "stop": "estop"}


@dataclass(frozen=True)
class RunRules:
    """Time-outs in seconds of the steady clock."""

    lockstep: bool = True
    period: float = 0.1
    answer_timeout: float = 2.0
    """lockstep: a source that is silent for so long is declared missing (DESIGN, Pace); realtime: that long without an answer in time
    ends the episode"""
    arm_timeout: float = 5.0
    """arm_node that is silent for so long ends the episode (ours)"""
    patience: int = 3
    """so many stale observations in a row end the episode with `sensor_stale`; in lockstep so many missing answers with `policy_lost`
    (ours)"""


class RunOutput(Protocol):
    """Where a running episode's messages go; the node publishes them, tests keep them."""

    def tick(self, plan: TickPlan) -> None: ...

    def tick_missing(self, step_id: int, sources: tuple[str, ...], reason: str) -> None: ...

    def step(self, data: StepData) -> None: ...


@dataclass(frozen=True)
class RunEnd:
    """`tick` is the observation after the last action, None when no tick ever went out. success: 1, 0, or -1 where not judged."""

    tick: TickPlan | None
    steps: int
    terminated: bool
    truncated: bool
    reason: str
    success: int


@dataclass
class _Pending:
    tick: TickPlan
    out_at: float
    answer: Answer | None = None
    wishes: dict[str, np.ndarray] = field(default_factory=dict)
    applied: AppliedAnswer | None = None
    rewards: dict[str, RewardAnswer] = field(default_factory=dict)
    declared: str = ""


def _overtaken(tick: TickPlan) -> AppliedAnswer:
    """Nothing was done for this tick, since a newer one came to the arm first."""
    return AppliedAnswer(tick.step_id, tick.deadline, "hold", "overtaken", "", EMPTY, EMPTY)


class EpisodeRun:
    """Runs from the first observation to `ended`. `step_ids` gives ids that are unique over the life of the cell."""

    def __init__(
        self, context: EpisodeContext, segment: Segment, sources: tuple[str, ...], reward_sources: tuple[str, ...], rules: RunRules,
        step_ids: Iterator[int], out: RunOutput, end_on_success: bool = False,
    ):
        self.context, self.segment, self.sources, self.reward_sources = context, segment, sources, reward_sources
        self.rules, self.end_on_success = rules, end_on_success
        self.ended: RunEnd | None = None
        self.stale_answers = 0
        self.silent_rewards = 0
        self.steps = 0
        self.bundle_id = ""
        self._ids, self._out = step_ids, out
        self._pending: list[_Pending] = []
        self._ticks = 0
        self._sent: list[float] = []
        self._missed = 0
        self._begun = rules.lockstep
        self._silent_since: float | None = None
        self._answers_late = False
        self._blind = 0
        self._wanted_end: tuple[str, int] | None = None
        self._success = -1

    # what the shell asks

    @property
    def wants_observation(self) -> bool:
        """A tick may go out: at once in realtime, and in lockstep when the last one was applied and all before it are joined."""
        if self.ended or (self._pending and self._pending[-1].tick.final):
            return False
        return not self._pending or not self.rules.lockstep or (self._pending[-1].applied is not None and len(self._pending) == 1)

    @property
    def awaited_stamp(self) -> int | None:
        """Node time that the next observation must reach in lockstep; None before the first tick."""
        last = self._pending[-1] if self._pending else None
        return last.applied.stamp if last and last.applied else None

    @property
    def last_tick(self) -> TickPlan | None:
        return self._pending[-1].tick if self._pending else None

    @property
    def awaits_answer(self) -> bool:
        last = self._pending[-1] if self._pending else None
        return bool(last and not last.tick.final and last.answer is None and not last.declared)

    @property
    def jitter(self) -> tuple[float, float]:
        """Realtime: 99th percentile and largest deviation of the ticks' distances from the period, s; NaN before the second tick."""
        off = [abs(b - a - self.rules.period) for a, b in itertools.pairwise(self._sent)]
        return percentile(off, 99), percentile(off, 100)

    # what comes in

    def observed(
        self, stamp: int, parts: tuple[Part, ...], missing: tuple[bool, ...], now: float, carried: Mapping[str, bytes] | None = None
    ) -> TickPlan:
        """The observation at node time `stamp` is there (or declared missing in part): the next tick goes out and brings `carried`."""
        if not self.rules.lockstep:
            self._move_on(now)
        final = self._wanted_end is not None or self._ticks >= self.context.horizon
        plan = TickPlan(
            stamp, stamp + round(self.rules.period * 1e9), self.context.episode_id, next(self._ids), self._ticks, final,
            () if final else self.sources, self.reward_sources if self._ticks else (), self.segment, parts, missing, carried or {},
        )
        self._ticks += 1
        self._sent.append(now)
        self._pending.append(_Pending(plan, now))
        self._out.tick(plan)
        if not self.rules.lockstep and self._silent_since is None and not any(missing):
            self._silent_since = now
        self._blind = self._blind + 1 if any(missing) else 0
        if any(missing) and not final:
            self.declare_missing((), "sensor_stale: " + ", ".join(plan.stale))
            if self._blind >= self.rules.patience:
                self.request_end("sensor_stale")
        self._advance()
        return plan

    def _move_on(self, now: float) -> None:
        """Realtime: the next tick is due, whether the last one was answered or not."""
        if self.awaits_answer:
            self.declare_missing(self.sources[:1], "late")
        if self._silent_since is not None and now - self._silent_since > self.rules.answer_timeout:
            self.request_end("policy_late" if self._answers_late else "policy_lost")
        if not self._begun:
            # A source may need several periods for its first answer (a network that warms up, a machine that is busy): the episode
            # begins with the first tick that is answered, and what went out before belongs to no step.
            self._pending.clear()
            self._sent.clear()
            self._ticks = 0

    def blind(self, streams: tuple[str, ...]) -> bool:
        """A stream fell silent between two ticks: the current action is given up at once. True when that was news."""
        last = self._pending[-1] if self._pending else None
        if last is None or last.tick.final or last.declared:
            return False
        reason = "sensor_stale: " + ", ".join(streams)
        if last.answer is None:
            self.declare_missing((), reason)
        else:
            # The step has its answer already; what is left of its period is a hold that belongs to no step.
            last.declared = reason
            self._out.tick_missing(0, (), reason)
        return True

    def answer(self, answer: Answer) -> None:
        """`action`, from the mux."""
        entry = self._find(answer.step_id)
        if entry is None or entry.answer is not None or entry.declared or answer.episode_id != self.context.episode_id:
            self.stale_answers += 1
            return
        entry.answer = answer
        self._missed, self._begun = 0, True
        self._silent_since, self._answers_late = None, False
        self.bundle_id = self.bundle_id or answer.bundle_id
        if answer.request_end:
            self.request_end("source_done")
        self._advance()

    def wish(self, answer: Answer) -> None:
        """`action/<source>`: what a source itself wanted."""
        entry = self._find(answer.step_id)
        if (entry is None or entry.declared) and answer.source in self.sources and answer.episode_id == self.context.episode_id:
            self._answers_late = True
        if entry is not None:
            entry.wishes[answer.source] = answer.values
            self._advance()

    def applied(self, applied: AppliedAnswer) -> None:
        entry = self._find(applied.step_id)
        if entry is None or entry.applied is not None:
            self.stale_answers += 1
            return
        entry.applied = applied
        for older in itertools.takewhile(lambda p: p is not entry, self._pending):
            # The arm obeys the newest tick only and tells in order: what it has passed over it has not carried out.
            older.applied = older.applied or _overtaken(older.tick)
        if applied.outcome in SAFETY_REASONS:
            self.request_end(SAFETY_REASONS[applied.outcome])
        self._advance()

    def reward(self, reward: RewardAnswer) -> None:
        entry = self._find(reward.step_id)
        if entry is None or reward.source not in self.reward_sources:
            self.stale_answers += 1
            return
        entry.rewards[reward.source] = reward
        self._advance()

    def request_end(self, reason: str, success: int = -1) -> None:
        """The next tick is the last one; the first reason stays."""
        self._wanted_end = self._wanted_end or (reason, success)

    def end_now(self, reason: str, success: int = -1) -> None:
        """Ends at the newest tick: an action that may still answer it belongs to no step."""
        if self.ended is None:
            self._wanted_end = self._wanted_end or (reason, success)
            self._close(self._pending[-1].tick if self._pending else None)

    def source_lost(self) -> None:
        """The publisher of the driving source is gone."""
        self.request_end("policy_lost")
        if self.awaits_answer:
            self.declare_missing(self.sources[:1], "policy_lost")

    def declare_missing(self, sources: tuple[str, ...], reason: str) -> None:
        """Gives up on the newest tick: arm_node holds, and the step is recorded with outcome `hold`."""
        last = self._pending[-1]
        if last.declared or last.answer is not None:
            return
        last.declared = reason
        self._missed += 1 if sources else 0
        self._out.tick_missing(last.tick.step_id, sources, reason)
        if self.rules.lockstep and self._missed >= self.rules.patience:
            self.request_end("policy_lost")

    def poll(self, now: float) -> None:
        """Time passes: silent sources are declared missing, a silent arm or reward source ends or is done without."""
        if self.ended or not self._pending:
            return
        last = self._pending[-1]
        waited = now - last.out_at
        if self.awaits_answer and waited > self.rules.answer_timeout and self.rules.lockstep:
            self.declare_missing(self.sources[:1], f"no answer for {self.rules.answer_timeout:g} s")
        if last.applied is None and not last.tick.final and waited > self.rules.answer_timeout + self.rules.arm_timeout:
            self.end_now("arm_lost")
            return
        first = self._pending[0]
        following = self._pending[1] if len(self._pending) > 1 else None
        if following and now - following.out_at > self.rules.answer_timeout and not self._rewarded(first):
            self.silent_rewards += 1
            for name in self.reward_sources:
                first.rewards.setdefault(name, RewardAnswer(first.tick.step_id, name, {}))
            self._advance()
        held = bool(first.declared) and first.answer is None and not self.rules.lockstep
        if following and first.applied is None and held and now - following.out_at > OVERTAKEN_AFTER * self.rules.period:
            # The word to hold and the next tick come on two topics, in either order: a tick that was passed over is not told of.
            first.applied = _overtaken(first.tick)
            self._advance()
        elif following and first.applied is None and now - first.out_at > self.rules.arm_timeout:
            self.end_now("arm_lost")

    # joining

    def _find(self, step_id: int) -> _Pending | None:
        return next((p for p in self._pending if p.tick.step_id == step_id), None)

    def _rewarded(self, entry: _Pending) -> bool:
        return all(name in entry.rewards for name in self.reward_sources)

    def _complete(self, entry: _Pending) -> bool:
        if entry.applied is None or not self._rewarded(entry):
            return False
        if entry.answer is None:
            return bool(entry.declared)
        return entry.answer.source in entry.wishes

    def _advance(self) -> None:
        while self.ended is None and len(self._pending) > 1 and self._complete(self._pending[0]):
            self._join(self._pending.pop(0), self._pending[0].tick)
        if self.ended is None and len(self._pending) == 1 and self._pending[0].tick.final:
            self._close(self._pending[0].tick)

    def _join(self, entry: _Pending, following: TickPlan) -> None:
        answer, applied = entry.answer, entry.applied
        assert applied is not None
        terminal = any(r.terminal for r in entry.rewards.values())
        success = any(r.success for r in entry.rewards.values())
        if entry.rewards:
            self._success = int(success)
        over = terminal or (success and self.end_on_success)
        actor = applied.source or (answer.source if answer else "none")
        if applied.outcome == "hold" and answer is None:
            actor = "none"
        wish = entry.wishes.get(answer.source, EMPTY) if answer else EMPTY
        intervention = bool(answer and answer.engaged and answer.source not in self.sources)
        self._out.step(StepData(entry.tick, actor, intervention, answer, wish, applied, 0.0 if over else 1.0))
        self.steps += 1
        if over:
            self._wanted_end = ("success" if success else "terminal", int(success))
            self._close(following, terminated=True)

    def _close(self, tick: TickPlan | None, terminated: bool = False) -> None:
        reason, success = self._wanted_end or ("horizon", -1)
        judged = success if success >= 0 else self._success
        self.ended = RunEnd(tick, self.steps, terminated, not terminated, reason, judged)
        self._pending = [p for p in self._pending if tick is not None and p.tick.step_id == tick.step_id]

    def close_open_tick(self) -> None:
        """Nobody will answer the tick that the run has ended at: the arm holds for it, and the hold belongs to no step."""
        self._out.tick_missing(self._pending[0].tick.step_id, (), "the episode is over")

    @property
    def in_flight(self) -> bool:
        """Ended at a tick that somebody may still answer (lockstep: the world will move once more)."""
        return bool(self.ended and self._pending and not self._pending[0].tick.final and self._pending[0].applied is None)
