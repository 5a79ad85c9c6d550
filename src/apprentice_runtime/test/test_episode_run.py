from __future__ import annotations

import itertools

import numpy as np
import pytest

from apprentice_core.assembler import Part
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_runtime.episode_run import EpisodeRun, RunRules
from apprentice_runtime.tick import Answer, AppliedAnswer, RewardAnswer

ZERO = np.zeros(2, np.float32)


class Out:
    """Collects what a run gives out."""

    def __init__(self):
        self.ticks, self.missing, self.steps = [], [], []

    def tick(self, plan):
        self.ticks.append(plan)

    def tick_missing(self, step_id, sources, reason):
        self.missing.append((step_id, sources, reason))

    def step(self, data):
        self.steps.append(data)


class World:
    """A cell in lockstep with a clock of its own."""

    def __init__(self, horizon=5, rewards=("r",), end_on_success=False, lockstep=True, **rules):
        self.out = Out()
        context = EpisodeContext("e", "lift", horizon=horizon, source="policy")
        self.run = EpisodeRun(
            context, Segment(), ("policy",), rewards, RunRules(lockstep=lockstep, **rules), itertools.count(100), self.out, end_on_success
        )
        self.now, self.t = 0.0, 1_000

    def observe(self, missing=False):
        assert self.run.wants_observation
        stamp = self.run.awaited_stamp or self.t
        return self.run.observed(stamp, (Part("joints", "joint_states", stamp),), (missing,), self.now)

    def answer(self, plan, **more):
        a = Answer(plan.step_id, "e", "policy", ZERO, **more)
        self.run.answer(a)
        self.run.wish(a)

    def apply(self, plan, outcome="applied", source="policy"):
        self.t += 100
        self.run.applied(AppliedAnswer(plan.step_id, self.t, outcome, "", source, ZERO, ZERO))

    def reward(self, plan, **more):
        self.run.reward(RewardAnswer(plan.step_id, "r", {"sparse": 0.0}, **more))

    def steps(self, n, start=None):
        """n whole steps; gives the last tick."""
        plan = start or self.observe()
        for _ in range(n):
            self.answer(plan)
            self.apply(plan)
            following = self.observe()
            self.reward(plan)
            plan = following
        return plan


def test_horizon_ends_with_the_observation_after_the_last_action():
    w = World(horizon=3)
    last = w.steps(3)
    end = w.run.ended
    assert end is not None and last.final and end.tick is last and last.sources == ()
    assert (end.steps, end.terminated, end.truncated, end.reason, end.success) == (3, False, True, "horizon", 0)
    assert [s.tick.step for s in w.out.steps] == [0, 1, 2] and all(s.discount == 1.0 for s in w.out.steps)
    assert [t.step_id for t in w.out.ticks] == [100, 101, 102, 103]


def test_next_tick_waits_for_applied_and_for_the_rewards_before_it():
    w = World()
    first = w.observe()
    assert not w.run.wants_observation
    w.answer(first)
    w.apply(first)
    second = w.observe()
    w.answer(second)
    w.apply(second)
    assert not w.run.wants_observation, "the reward of the first step is still out"
    w.reward(first)
    assert w.run.wants_observation


def test_success_ends_at_the_tick_it_was_computed_at_and_the_action_sent_for_it_belongs_to_no_step():
    w = World(end_on_success=True)
    plan = w.steps(1)
    w.answer(plan)
    w.apply(plan)
    following = w.observe()
    w.answer(following)
    w.reward(plan, success=True)
    end = w.run.ended
    assert end is not None and end.tick is following and end.terminated and end.reason == "success" and end.success == 1
    assert len(w.out.steps) == 2 and w.out.steps[-1].discount == 0.0
    assert w.run.in_flight
    w.apply(following)
    assert not w.run.in_flight and len(w.out.steps) == 2


def test_success_without_the_wish_to_end_goes_on_and_is_judged_at_the_end():
    w = World(horizon=2)
    plan = w.observe()
    for success in (False, True):
        w.answer(plan)
        w.apply(plan)
        following = w.observe()
        w.reward(plan, success=success)
        plan = following
    assert w.run.ended is not None and w.run.ended.reason == "horizon" and w.run.ended.success == 1 and not w.run.ended.terminated


def test_true_terminal_without_success():
    w = World()
    plan = w.observe()
    w.answer(plan)
    w.apply(plan)
    w.observe()
    w.reward(plan, terminal=True)
    assert w.run.ended is not None and w.run.ended.terminated and w.run.ended.reason == "terminal" and w.run.ended.success == 0


def test_missing_answer_is_declared_after_its_time_and_recorded_as_hold():
    w = World(answer_timeout=2.0)
    plan = w.observe()
    w.run.poll(1.9)
    assert not w.out.missing
    w.run.poll(2.1)
    assert w.out.missing == [(100, ("policy",), "no answer for 2 s")]
    w.answer(plan)
    assert w.run.stale_answers == 1, "too late"
    w.apply(plan, "hold", "")
    w.observe()
    w.reward(plan)
    assert w.out.steps[0].applied.outcome == "hold" and w.out.steps[0].actor == "none" and w.out.steps[0].answer is None


def test_a_source_that_stays_silent_is_lost():
    w = World(horizon=50, patience=3, answer_timeout=2.0)
    plan = w.observe()
    for _ in range(3):
        w.now += 2.1
        w.run.poll(w.now)
        w.apply(plan, "hold", "")
        following = w.observe()
        w.reward(plan)
        plan = following
    assert w.run.ended is not None and w.run.ended.reason == "policy_lost" and w.run.ended.truncated and w.run.ended.steps == 3


def test_a_publisher_that_is_gone_ends_at_once():
    w = World()
    plan = w.steps(2)
    w.run.source_lost()
    assert w.out.missing[-1][0] == plan.step_id
    w.apply(plan, "hold", "")
    w.observe()
    w.reward(plan)
    assert w.run.ended is not None and w.run.ended.reason == "policy_lost" and w.run.ended.steps == 3


@pytest.mark.parametrize(("outcome", "reason"), [("retreat", "force_limit"), ("stop", "estop")])
def test_safety_outcomes_end_the_episode(outcome, reason):
    w = World()
    plan = w.observe()
    w.answer(plan)
    w.apply(plan, outcome)
    w.observe()
    w.reward(plan)
    assert w.run.ended is not None and w.run.ended.reason == reason and w.run.ended.truncated


def test_an_arm_that_is_silent_ends_at_the_last_tick():
    w = World(answer_timeout=2.0, arm_timeout=5.0)
    plan = w.steps(1)
    w.answer(plan)
    w.run.poll(7.1)
    assert w.run.ended is not None and w.run.ended.reason == "arm_lost" and w.run.ended.tick is plan and w.run.ended.steps == 1


def test_a_silent_reward_source_is_done_without():
    w = World(horizon=1, answer_timeout=2.0)
    plan = w.observe()
    w.answer(plan)
    w.apply(plan)
    w.observe()
    w.run.poll(2.5)
    assert w.run.ended is not None and w.run.silent_rewards == 1 and w.run.ended.steps == 1


def test_a_stale_observation_is_answered_by_nobody_and_ends_when_it_stays():
    w = World(horizon=50, patience=2)
    for _ in range(2):
        plan = w.observe(missing=True)
        assert w.out.missing[-1][:2] == (plan.step_id, ())
        w.apply(plan, "hold", "")
        if w.run.wants_observation is False:
            w.reward(w.out.ticks[-2])
    final = w.observe()
    w.reward(plan)
    assert final.final and w.run.ended is not None and w.run.ended.reason == "sensor_stale"


def test_the_source_may_end_after_its_action():
    w = World()
    plan = w.observe()
    w.answer(plan, request_end=True)
    w.apply(plan)
    assert w.observe().final
    w.reward(plan)
    assert w.run.ended is not None and w.run.ended.reason == "source_done" and w.run.ended.steps == 1


def test_operator_ends_with_a_judgement():
    w = World()
    plan = w.steps(1)
    w.run.request_end("operator", 1)
    w.answer(plan)
    w.apply(plan)
    w.observe()
    w.reward(plan)
    assert w.run.ended is not None and w.run.ended.reason == "operator" and w.run.ended.success == 1


def test_foreign_and_second_answers_are_counted():
    w = World()
    plan = w.observe()
    w.run.answer(Answer(5, "e", "policy", ZERO))
    w.run.answer(Answer(plan.step_id, "another", "policy", ZERO))
    w.answer(plan)
    w.run.answer(Answer(plan.step_id, "e", "policy", ZERO))
    assert w.run.stale_answers == 3


class RealtimeWorld(World):
    """The wall clock: a tick a period, answered or not; the arm says of each what became of it."""

    def __init__(self, **more):
        super().__init__(lockstep=False, rewards=(), **more)

    def period(self, answers=True, late=None):
        """One tick, answered in time or not; `late`: an older one whose answer comes only now."""
        self.now += 0.1
        self.t += 100
        given_up = len(self.out.missing)
        plan = self.observe()
        for step_id, _, _ in self.out.missing[given_up:]:
            self.apply(next(t for t in self.out.ticks if t.step_id == step_id), "hold", "")
        if late is not None:
            self.answer(late)
        if answers and not plan.final:
            self.answer(plan)
            self.apply(plan)
        return plan


def test_realtime_begins_with_the_first_tick_that_is_answered():
    w = RealtimeWorld(horizon=4)
    slow = [w.period(answers=False) for _ in range(12)]
    assert {p.step for p in slow} == {0} and len({p.step_id for p in slow}) == 12, "a network that warms up, a busy machine"
    assert [m[0] for m in w.out.missing] == [p.step_id for p in slow[:-1]], "the arm holds meanwhile"
    while w.run.ended is None:
        w.period()
    end = w.run.ended
    assert (end.steps, end.reason) == (4, "horizon")
    assert [s.tick.step for s in w.out.steps] == [0, 1, 2, 3] and all(s.applied.outcome == "applied" for s in w.out.steps)


def test_realtime_jitter_is_how_far_ticks_are_off_their_period():
    w = RealtimeWorld(horizon=20)
    assert all(np.isnan(w.run.jitter))
    w.period(answers=False)
    w.now += 1.0
    for late in (0.0, 0.0, 0.004, -0.004, 0.03, 0.0):  # the first takes the place of the tick that nobody answered
        w.now += late
        w.period()
    assert w.run.jitter == pytest.approx((0.03, 0.03), rel=0.1) and w.run.jitter[0] < w.run.jitter[1]


def test_realtime_goes_on_after_a_stall_and_each_tick_of_it_is_a_held_step():
    w = RealtimeWorld(horizon=30)
    for k in range(31):
        w.period(answers=not 5 <= k < 15)
    end = w.run.ended
    assert end is not None and (end.steps, end.reason) == (30, "horizon")
    assert [s.applied.outcome for s in w.out.steps] == ["applied"] * 5 + ["hold"] * 10 + ["applied"] * 15


@pytest.mark.parametrize("before", [0, 5])
def test_realtime_policy_that_is_silent_for_its_time_is_lost(before):
    w = RealtimeWorld(horizon=200, answer_timeout=1.0)
    for _ in range(before):
        w.period()
    silent = 0
    while w.run.ended is None:
        w.period(answers=False)
        silent += 1
        assert silent < 20
    assert w.run.ended.reason == "policy_lost" and 10 <= silent <= 12
    assert w.run.ended.steps == (before + silent - 1 if before else 0)


def test_realtime_policy_that_answers_but_never_in_time_is_told_from_one_that_is_gone():
    w = RealtimeWorld(horizon=200, answer_timeout=1.0)
    w.period()
    last = w.period(answers=False)
    while w.run.ended is None:
        last = w.period(answers=False, late=last)
    assert w.run.ended.reason == "policy_late" and w.run.ended.steps <= 13


def test_realtime_tick_that_the_arm_passed_over_is_a_held_step():
    w = RealtimeWorld(horizon=50)
    for _ in range(3):
        w.period()
    # The answer went out, but the next tick came to the arm before it.
    w.now += 0.1
    passed = w.observe()
    w.answer(passed)
    for _ in range(2):
        w.period()
    assert [s.applied.outcome for s in w.out.steps] == ["applied"] * 3 + ["hold", "applied"] and w.out.steps[3].tick is passed
    # At the end no later step tells of it.
    w.run.request_end("operator")
    w.now += 0.1
    last = w.observe()
    assert last.final and w.run.ended is not None and w.run.ended.steps == 6
    w = RealtimeWorld(horizon=2)
    w.period()
    w.now += 0.1
    w.observe()
    w.now += 0.1
    final = w.observe()
    assert final.final and w.run.ended is None
    w.run.poll(w.now + 0.25)
    assert w.run.ended is not None and (w.run.ended.reason, w.run.ended.steps) == ("horizon", 2)
    assert (w.out.steps[1].applied.outcome, w.out.steps[1].actor) == ("hold", "none")


def test_realtime_goes_on_without_an_answer_and_a_stream_that_falls_silent_holds_at_once():
    w = World(lockstep=False, horizon=50)
    first = w.observe()
    w.t += 100
    second = w.observe()
    assert w.out.missing == [(first.step_id, ("policy",), "late")]
    w.answer(second)
    assert w.run.blind(("camera/a",)) and not w.run.blind(("camera/a",))
    assert w.out.missing[-1][0] == 0
    w.t += 100
    third = w.observe()
    assert w.run.blind(("camera/a",)) and w.out.missing[-1][0] == third.step_id


def test_a_person_who_drives_is_the_actor():
    w = World()
    plan = w.observe()
    a = Answer(plan.step_id, "e", "teleop", ZERO, engaged=True)
    w.run.answer(a)
    w.run.wish(a)
    w.apply(plan, source="teleop")
    w.observe()
    w.reward(plan)
    assert w.out.steps[0].actor == "teleop" and w.out.steps[0].intervention
