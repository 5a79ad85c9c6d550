"""SimCell as a cell: determinism, resets, episodes, timing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from apprentice_control.scripted import make_expert
from apprentice_control.scripted.lift_expert import LiftExpert
from apprentice_core.cell import ActionSource, Cell, EpisodeRequest, ResetRequest, SourceAction
from apprentice_core.config import Timing, load_cell, load_robot
from apprentice_core.episode import EpisodeContext, EpisodeOutcome, Segment, StepRecord
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.spaces import Observation, check_observation, observation_digest
from apprentice_sim.sim_cell import SimCell


@dataclass
class Memory:
    """A sink that keeps everything."""

    contexts: list[EpisodeContext] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    outcomes: list[EpisodeOutcome] = field(default_factory=list)

    def start(self, context: EpisodeContext, spec: Any) -> None:
        self.contexts.append(context)

    def step(self, observation: Observation, record: StepRecord, stamp: float) -> None:
        self.observations.append(observation)
        self.steps.append(record)

    def end(self, observation: Observation, outcome: EpisodeOutcome, stamp: float) -> str:
        self.observations.append(observation)
        self.outcomes.append(outcome)
        return "kept"


class Constant:
    """Always the same action."""

    needs_privileged, bundle_id = False, ""

    def __init__(self, values: list[float]):
        self.name, self.values = "constant", np.array(values, dtype=np.float32)

    def reset(self, context: EpisodeContext) -> None:
        pass

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        assert privileged is None
        return SourceAction(self.values)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        pass


def test_contracts(lift: SimCell) -> None:
    assert isinstance(lift, Cell)
    assert all(isinstance(s, ActionSource) for s in lift.sources.values())
    check_observation(lift.observe(), lift.spec.observation)
    for spec in lift.spec.privileged:
        spec.check(lift.privileged()[spec.name])


def test_same_seed_same_bits() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 7)).astype(np.float32)

    def rollout(cell: SimCell) -> list[str]:
        assert cell.reset(ResetRequest("full", seed=11)).ok
        return [observation_digest(cell.observe()), *(observation_digest(cell.step(a).observation) for a in actions)]

    first, second = SimCell("sawyer_lift", "lift_demo", seed=4), SimCell("sawyer_lift", "lift_demo", seed=4)
    reference = rollout(first)
    assert rollout(second) == reference
    first.close()
    second.close()


def test_resets_do_not_depend_on_what_came_before(lift: SimCell) -> None:
    lift.reset(ResetRequest("full", seed=21))
    reference = lift.observe()
    lift.run(EpisodeRequest("", "random_watcher", steps=15))
    result = lift.reset(ResetRequest("full", seed=21))
    assert result.ok and result.tries == 1 and result.duration < 20
    again = lift.observe()
    np.testing.assert_array_equal(again["joints/position"], reference["joints/position"])
    assert np.abs(again["joints/position"] - lift.profile.home).max() < 0.01
    assert np.abs(again["gripper/position"] - lift.profile.gripper.open).max() < 1e-3
    assert np.abs(again["wrist/wrench"]).max() < 0.1


def test_the_way_home_stays_in_the_workspace(lift: SimCell) -> None:
    """From here the straight line of the joints leaves the box sideways, where the safety chain stops it."""
    lift.reset()
    lift.world.set_robot([0.425, -0.429, -0.858, 1.574, -1.315, -0.07, 3.524], lift.profile.gripper.open)
    lift.loop.engage()
    assert lift.reset().ok
    assert lift._drive_home(lift.profile.home) == ""


def test_reset_is_refused_when_it_cannot_be_verified(lift: SimCell, monkeypatch: pytest.MonkeyPatch) -> None:
    place = lift.world.scene.place
    falling = lambda start, seed: tuple(b.at(b.pose[0], b.pose[1], b.pose[2] + 0.1, 0.0) for b in place(start, seed))  # noqa: E731
    monkeypatch.setattr(lift.world.scene, "place", falling)
    result = lift.reset(ResetRequest("scene", seed=1))
    assert not result.ok and result.tries == 3 and "does not rest" in result.reason
    assert not lift.reset(ResetRequest("operator")).ok


@pytest.mark.parametrize(("cell", "task"), [("sawyer_lift", "lift_demo"), ("widowx_pick_place", "pick_place")])
def test_experts_succeed(cell: str, task: str) -> None:
    sink = Memory()
    sim = SimCell(cell, task, seed=3, cameras=False, sink=sink)
    refs = [sim.run(EpisodeRequest(task, "expert", ResetRequest("full", seed=100 + i), end_on_success=True)) for i in range(5)]
    assert sum(r.success for r in refs) == 5
    assert all(r.terminated and r.reason == "success" and r.path == "kept" and r.steps <= 60 for r in refs)
    assert len(sink.observations) == len(sink.steps) + 5
    assert [s.discount for s in sink.steps].count(0.0) == 5 and sink.steps[-1].rewards["scripted/sparse"].value == 1.0
    assert sink.steps[0].digest == observation_digest(sink.observations[0])
    sim.close()


def test_the_noisy_expert_keeps_clean_values() -> None:
    sink = Memory()
    sim = SimCell("sawyer_lift", "lift_demo", seed=3, cameras=False, sink=sink)
    setup = (sim.profile, sim.task_config, sim.spec.action_space, 0.1)
    sim.sources["noisy"] = make_expert(*setup, noise=0.2, noise_correlation=0.5, seed=1, name="noisy")
    sim.sources["clumsy"] = make_expert(*setup, failures=1.0, seed=1, name="clumsy")
    assert sum(sim.run(EpisodeRequest("", "noisy", end_on_success=True)).success for _ in range(4)) >= 3
    noise = np.array([s.actions["noise"] for s in sink.steps])
    assert 0.15 < noise[:, :6].std() < 0.25 and not noise[:, 6].any()
    for s in sink.steps:
        np.testing.assert_allclose(s.actions["mixed"], np.clip(s.actions["source"] + s.actions["noise"], -1, 1), atol=1e-6)
    assert not sim.run(EpisodeRequest("", "clumsy", end_on_success=True, steps=45)).success
    sim.close()


def test_who_holds_something_up_holds_it_still() -> None:
    """What counts is the end of the episode, where a trembling hand would be too fast for success half of the time."""
    expert = LiftExpert(load_robot("sawyer"), "green", noise=0.2, noise_correlation=0.7, name="noisy")
    cell = SimCell("sawyer_lift", "lift_green", seed=0, cameras=False, sources={"noisy": expert})
    try:
        ends = [cell.run(EpisodeRequest("lift_green", "noisy", ResetRequest("full", seed=i), steps=70)).success for i in range(8)]
    finally:
        cell.close()
    assert all(ends)


def test_random_watcher_stays_inside(lift: SimCell) -> None:
    sink = Memory()
    lift.sink = sink
    ref = lift.run(EpisodeRequest("", "random_watcher", steps=40))
    lift.sink = None
    assert (ref.steps, ref.truncated, ref.reason) == (40, True, "horizon")
    box = lift.profile.limits.workspace
    tool = np.array([o["tool/pose"][:3] for o in sink.observations])
    assert (tool > np.array(box.low) - 0.005).all() and (tool < np.array(box.high) + 0.005).all()
    assert np.ptp(tool, axis=0).max() > 0.1
    assert {s.outcome for s in sink.steps} == {"applied"}


def test_resets_are_recorded_as_episodes(lift: SimCell) -> None:
    sink = Memory()
    lift.run(EpisodeRequest("", "random_watcher", steps=10))
    lift.sink, lift.record_resets = sink, True
    lift.run(EpisodeRequest("", "random_watcher", steps=3))
    lift.sink, lift.record_resets = None, False
    assert [c.kind for c in sink.contexts] == ["reset", "episode"]
    assert sink.outcomes[0].reason == "source_done" and sink.outcomes[0].success is None
    assert sink.steps[0].action_space == "joint_velocity_gripper" and sink.steps[-1].action_space == "cartesian_velocity_gripper"


class Passing:
    """Success in the second step alone."""

    name, model_id, needs_privileged = "passing", "passing/1", False

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        hit, no = batch.step == 1, np.zeros(len(batch.step), dtype=bool)
        return {"once": RewardResult(hit.astype(np.float32), np.full(len(hit), np.nan), ~no, no, hit)}


def test_success_is_what_stands_at_the_end() -> None:
    """As on the nodes: an episode that passed through a successful state and left it again has failed."""
    cell = SimCell("sawyer_lift", "lift", cameras=False, rewards=[Passing()])
    try:
        assert not cell.run(EpisodeRequest("lift", "random_watcher", ResetRequest("none"), steps=3)).success
        assert cell.run(EpisodeRequest("lift", "random_watcher", ResetRequest("none"), steps=2)).success
        ended = cell.run(EpisodeRequest("lift", "random_watcher", ResetRequest("none"), steps=3, end_on_success=True))
        assert ended.success and ended.terminated and ended.steps == 2
    finally:
        cell.close()


def test_wrong_requests_are_refused(lift: SimCell) -> None:
    with pytest.raises(ApprenticeError, match="random_watcher"):
        lift.run(EpisodeRequest("", "nobody"))
    with pytest.raises(ApprenticeError, match="lift_demo"):
        lift.run(EpisodeRequest("stack", "expert"))


def test_injected_delays() -> None:
    """With a delay of d the tool is seen where it was d ago; an action delay moves the onset by as much."""
    up = Constant([1, 0, 0, 0, 0, 0, -1])

    def tracks(timing: Timing) -> np.ndarray:
        sink = Memory()
        cell = load_cell("sawyer_lift").model_copy(update={"timing": timing})
        sim = SimCell(cell, "lift_demo", cameras=False, sink=sink, sources={"constant": up})
        sim.run(EpisodeRequest("", "constant", ResetRequest("full", seed=1), steps=10))
        sim.close()
        return np.array([o["tool/pose"][0] for o in sink.observations])

    plain = tracks(Timing())
    speed = plain[-1] - plain[-2]
    assert speed == pytest.approx(0.01, rel=0.1)
    for delayed in (tracks(Timing(observation_delay=0.05)), tracks(Timing(action_delay=0.05))):
        assert plain[-1] - delayed[-1] == pytest.approx(0.5 * speed, rel=0.15)
    late = tracks(Timing(observation_delay=0.2))
    np.testing.assert_allclose(late[4:], plain[2:-2], atol=1e-4)
    jittered = tracks(Timing(jitter=0.08))
    np.testing.assert_array_equal(jittered, tracks(Timing(jitter=0.08)))
    assert np.std(np.diff(jittered)[3:]) > 5 * np.std(np.diff(plain)[3:])


def test_goal_images_leave_the_world_alone() -> None:
    sim = SimCell("sawyer_lift", "lift_demo", seed=1)
    sim.reset()
    state = sim.save_state()
    at_start = sim.observer.renderer.render("basket_front_left")
    for _ in range(4):
        sim.step(np.array([1, 1, -1, 0, 0, 0, 1], dtype=np.float32))
    before = sim.world.snapshot()[0]
    np.testing.assert_array_equal(sim.render_goal(state)["camera/basket_front_left"], at_start)
    np.testing.assert_array_equal(sim.world.snapshot()[0], before)
    sim.close()
