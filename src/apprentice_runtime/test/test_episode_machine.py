from __future__ import annotations

import numpy as np
import pytest

from apprentice_control.command_gate import CommandGate
from apprentice_core.assembler import Part
from apprentice_runtime.episode_machine import Committed, EpisodeMachine, Goal, MachineRules
from apprentice_runtime.episode_run import RunRules
from apprentice_runtime.tick import Answer, AppliedAnswer, RewardAnswer

ZERO = np.zeros(2, np.float32)


class Cell:
    """The shell of a machine: every other part of a cell that answers at once, on a clock of its own."""

    def __init__(self, home_after=1, scene_ok=True, commits=True, ready="", rewards=("r",), success_at=-1, **rules):
        self.machine = EpisodeMachine(MachineRules(run=RunRules(), horizon=4, reset_steps=3, **rules), self, rewards, seed=1)
        self.home_after, self.scene_ok, self.commits, self.ready = home_after, scene_ok, commits, ready
        self.now, self.t = 0.0, 1_000
        self.ticks, self.steps, self.events, self.missing, self.phases, self.results, self.scenes = [], [], [], [], [], [], []
        self.stood = self.resets = self.tares = 0
        self.complete = True
        self.offers_tare = True
        self.success_at = success_at

    # EpisodePorts
    def tick(self, plan): self.ticks.append(plan)
    def tick_missing(self, step_id, sources, reason): self.missing.append(step_id)
    def step(self, data): self.steps.append(data)
    def phase(self, phase): self.phases.append(phase)
    def finished(self, result): self.results.append(result)
    def fresh(self): self.t += 1
    def settled(self): return self.complete
    def lacking(self): return () if self.complete else ("camera/wrist_left",)
    def not_ready(self, goal): return self.ready
    def home_error(self, goal): return "" if self.resets >= self.home_after else "right_j0 is 0.3 rad from home"
    def reset_scene(self, task, initial_state, seed): self.scenes.append((task, initial_state, seed))

    def stand(self):
        self.stood += 1
        self.complete = self.stood >= 2

    def tare(self):
        self.tares += self.offers_tare
        return self.offers_tare

    def event(self, data):
        self.events.append(data)
        self.resets += data.event == "end" and data.kind == "reset"

    # the rest of the cell
    def turn(self):
        """Everything that is due happens once."""
        self.now += 0.01
        m = self.machine
        if len(self.scenes) > getattr(self, "_answered", 0):
            self._answered = len(self.scenes)
            m.on_scene(self.scene_ok, "" if self.scene_ok else "no room")
        if self.tares > getattr(self, "_tared", 0):
            self._tared = self.tares
            m.on_tared()
        run = m.run
        if run is not None and run.wants_observation:
            previous = run.last_tick
            stamp = run.awaited_stamp or self.t
            plan = run.observed(stamp, (Part("joints", "joint_states", stamp),), (False,), self.now)
            if previous is not None and run.reward_sources and plan.reward_sources:
                run.reward(RewardAnswer(previous.step_id, "r", {}, success=plan.step == self.success_at))
            m.advance()
        elif run is not None and run.awaits_answer:
            plan = run.last_tick
            a = Answer(plan.step_id, plan.episode_id, plan.sources[0], ZERO)
            run.answer(a)
            run.wish(a)
            self.t += 100
            run.applied(AppliedAnswer(plan.step_id, self.t, "applied", "", a.source, ZERO, ZERO))
            m.advance()
        ends = [e for e in self.events if e.event == "end"]
        if self.commits and ends and len(ends) > getattr(self, "_done", 0):
            self._done = len(ends)
            m.on_committed(Committed(ends[-1].episode_id, True, f"/bags/{ends[-1].episode_id}", "", 0))
        m.poll(self.now)

    def play(self, goal, turns=400):
        self.machine.start(goal, self.now)
        for _ in range(turns):
            if self.results:
                return self.results[-1]
            self.turn()
        raise AssertionError(f"no result; phases {self.phases}")


def test_full_reset_runs_an_episode_of_kind_reset_then_the_scene_then_the_episode():
    cell = Cell()
    result = cell.play(Goal("lift", "policy", seed=9))
    assert result.ok and result.reason == "horizon" and result.steps == 4 and result.path == f"/bags/{result.episode_id}"
    assert [(e.event, e.kind, e.source) for e in cell.events] == [
        ("start", "reset", "reset"), ("end", "reset", "reset"), ("start", "episode", "policy"), ("end", "episode", "policy"),
    ]
    assert cell.phases == ["resetting", "running", "committing"] and cell.scenes == [("lift", "", 9)] and cell.tares == 1
    start = cell.events[2]
    assert start.metadata["horizon"] == 4 and start.metadata["reward_sources"] == ["r"] and start.metadata["record"] is True
    assert start.metadata["reset"]["tries"] == 1 and cell.events[0].metadata["reward_sources"] == []
    end = cell.events[3]
    assert end.parts == cell.ticks[-1].parts and end.stamp == cell.ticks[-1].stamp and cell.ticks[-1].final
    ids = [t.step_id for t in cell.ticks]
    assert ids == sorted(set(ids)), "unique over episodes"


def test_seed_is_drawn_and_recorded_when_none_is_given():
    cell = Cell()
    cell.play(Goal("lift", "policy"))
    seed = cell.events[-1].seed
    assert seed is not None and seed >= 0 and cell.scenes[0][2] == seed


def test_reset_is_tried_again_and_then_given_up():
    assert Cell(home_after=3).play(Goal("lift", "policy")).ok
    cell = Cell(home_after=9)
    result = cell.play(Goal("lift", "policy"))
    assert not result.ok and "right_j0" in result.message and cell.resets == 3 and not [e for e in cell.events if e.kind == "episode"]


def test_no_reset_goes_on_where_the_last_one_ended():
    cell = Cell()
    result = cell.play(Goal("lift", "policy", reset_mode="none", continues="before", steps=2))
    assert result.ok and result.steps == 2 and not cell.scenes and cell.events[0].continues == "before" and cell.events[0].kind == "episode"


def test_scene_that_cannot_be_placed_fails_with_its_reason():
    result = Cell(scene_ok=False).play(Goal("lift", "policy", reset_mode="scene"))
    assert not result.ok and "no room" in result.message


def test_operator_reset_waits_for_a_person():
    cell = Cell()
    cell.machine.start(Goal("lift", "policy", reset_mode="operator"), 0.0)
    for _ in range(20):
        cell.turn()
    assert not cell.events
    assert cell.machine.on_operator()
    for _ in range(40):
        cell.turn()
    assert cell.results[0].ok and not cell.machine.on_operator()


def test_incomplete_streams_make_the_world_go_on_until_they_are_there():
    cell = Cell()
    cell.complete = False
    result = cell.play(Goal("lift", "policy", reset_mode="none"), turns=2000)
    assert result.ok and cell.stood == 2


def test_an_arm_is_never_left_with_a_tick_that_nobody_answers():
    """Success is told at a tick that was given out; its source may hear of the end first, and then says nothing to that tick."""
    arm = CommandGate()

    class Shell(Cell):
        def tick(self, plan):
            super().tick(plan)
            arm.tick(plan.step_id, plan.episode_id, plan.final)

        def tick_missing(self, step_id, sources, reason):
            super().tick_missing(step_id, sources, reason)
            if arm.missing(step_id, reason):
                self.machine.run.applied(AppliedAnswer(step_id, self.t + 100, "hold", reason, "", ZERO, ZERO))

        def turn(self):
            run = self.machine.run
            if run is not None and run.awaits_answer and not run.ended:
                arm.action(Answer(run.last_tick.step_id, run.last_tick.episode_id, "policy", ZERO))
            if run is None or not run.ended:
                super().turn()
                return
            self.now += 0.01
            self.machine.poll(self.now)

    cell = Shell(success_at=1)
    result = cell.play(Goal("lift", "policy", reset_mode="none", end_on_success=True, record=False), turns=3000)
    assert result.ok and result.reason == "success" and result.steps == 1
    assert cell.missing == [cell.ticks[-1].step_id] and not arm.waiting and len(cell.steps) == 1, "a hold that belongs to no step"
    assert arm.missing(0, "nobody drives") is not None, "the next episode finds an arm that goes on"


def test_a_stream_that_never_comes_is_named():
    cell = Cell()
    cell.complete, cell.stand = False, lambda: None
    result = cell.play(Goal("lift", "policy", reset_mode="none"), turns=20_000)
    assert not result.ok and "not complete (camera/wrist_left)" in result.message


def test_nobody_ready_fails_by_name_in_time():
    cell = Cell(ready="no recorder_node is running", ready_timeout=1.0)
    result = cell.play(Goal("lift", "policy"))
    assert not result.ok and "no recorder_node" in result.message and cell.now < 1.5


def test_a_newcomer_after_all_were_ready_does_not_fail_the_episode():
    cell = Cell()
    looks = iter([""])
    cell.not_ready = lambda goal: next(looks, "policy_node has not met all who listen to action/policy")
    assert cell.play(Goal("lift", "policy", reset_mode="none")).ok


def test_a_named_start_needs_no_seed():
    cell = Cell()
    assert cell.play(Goal("lift", "policy", initial_state="normal/n0")).ok
    assert cell.scenes == [("lift", "normal/n0", -1)] and cell.events[-1].seed is None


def test_a_recorder_that_is_silent_costs_the_commit_and_not_the_episode():
    cell = Cell(commits=False, commit_timeout=1.0)
    result = cell.play(Goal("lift", "policy", reset_mode="none"))
    assert not result.ok and "did not commit" in result.message and result.steps == 4 and result.path == ""


def test_without_recording_nobody_waits_for_a_commit():
    cell = Cell(commits=False)
    result = cell.play(Goal("lift", "policy", reset_mode="none", record=False))
    assert result.ok and result.path == "" and cell.phases == ["resetting", "running"]


@pytest.mark.parametrize("turns", [3, 40])
def test_cancel_ends_at_the_next_observation(turns):
    cell = Cell(rewards=())
    cell.machine.start(Goal("lift", "policy", steps=1000), 0.0)
    for _ in range(turns):
        cell.turn()
    assert cell.machine.cancel("operator", 1)
    for _ in range(20):
        cell.turn()
    assert len(cell.results) == 1 and not cell.machine.busy
    if turns == 40:
        assert cell.results[0].reason == "operator" and cell.results[0].success and cell.results[0].truncated
    assert not cell.machine.cancel()


@pytest.mark.parametrize(
    ("goal", "word"),
    [
        (Goal("dance", "policy"), "dance"),
        (Goal("lift", "ghost"), "ghost"),
        (Goal("lift", "policy+ghost"), "ghost"),
        (Goal("lift", "policy", reset_mode="half"), "half"),  # type: ignore[arg-type]
    ],
)
def test_bad_goals_are_refused_by_name(goal, word):
    assert word in Cell().machine.refusal(goal, ("lift",), ("policy", "reset"))


def test_one_episode_at_a_time():
    cell = Cell()
    cell.machine.start(Goal("lift", "policy"), 0.0)
    assert "one at a time" in cell.machine.refusal(Goal("lift", "policy"), ("lift",), ("policy",))


@pytest.mark.parametrize("metadata", [{"start": {"tool": [1]}}, {"goal": {"position": ["a"]}}, {"goal": 3}])
def test_metadata_that_cannot_be_followed_is_refused(metadata):
    assert "metadata" in Cell().machine.refusal(Goal("lift", "policy", metadata=metadata), ("lift",), ("policy",))


def test_a_reset_that_needs_a_person_is_not_tried_again():
    cell = Cell(home_after=9)
    cell.home_error = lambda goal: "operator needed: the plug is lost"
    result = cell.play(Goal("lift", "policy"))
    assert not result.ok and result.message.startswith("operator needed: ") and cell.resets == 1
