"""Base controllers of spec 001c on a tool that does as it is told, over a table that pushes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apprentice_control.base import (
    CONTROLLERS,
    BaseController,
    CentreLine,
    ControllerSource,
    HandController,
    Localised,
    NullController,
    PController,
    PolicyController,
    RandomSearch,
    SpiralSearch,
    StraightDown,
    make_controller,
)
from apprentice_core.cell import ActionSource, Controller, SourceAction
from apprentice_core.config import load_robot
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ConfigError
from apprentice_core.mixing import mix
from apprentice_core.rotations import quaternion_from_rpy
from apprentice_core.spaces import cartesian_displacement
from apprentice_core.wrench import force_in_base

STEP = 0.01
SPACE = cartesian_displacement(STEP)
GOAL = np.array([0.6, 0.02, 0.05])
SEGMENT = Segment(goal={"position": GOAL.astype(np.float32)})
CONTEXT = EpisodeContext("01J0000000000000000000000A", "insert_usb", seed=3)
DOWN = quaternion_from_rpy(np.pi, 0.0, 0.4)


def off(x: float, y: float, z: float) -> np.ndarray:
    """A place off the goal by so many metres."""
    return GOAL + np.array([x, y, z])


class Table:
    """A tool that carries out displacements; below `height` a spring of `stiffness` N/m pushes up, but for a hole."""

    def __init__(self, position: np.ndarray, height: float = -1.0, stiffness: float = 9000.0, hole: tuple[float, float, float] = (9, 9, 0)):
        self.position, self.height, self.stiffness, self.hole = position.astype(float).copy(), height, stiffness, hole

    def observation(self) -> dict[str, np.ndarray]:
        x, y, radius = self.hole
        inside = np.hypot(self.position[0] - x, self.position[1] - y) < radius
        up = 0.0 if inside else max(0.0, self.height - self.position[2]) * self.stiffness
        # The tool points down: what pushes up reads as negative z in its own frame.
        return {"tool/pose": np.append(self.position, DOWN).astype(np.float32), "wrist/wrench": np.float32([0, 0, -up, 0, 0, 0])}

    def up(self) -> float:
        return -float(self.observation()["wrist/wrench"][2])

    def drive(self, controller: BaseController, steps: int, segment: Segment = SEGMENT) -> np.ndarray:
        controller.begin(CONTEXT)
        track = [self.position.copy()]
        for _ in range(steps):
            self.position = self.position + SPACE.to_si(controller.action(self.observation(), segment))
            track.append(self.position.copy())
        return np.array(track)


def test_from_5_cm_above_the_p_controller_is_within_2_mm_after_10_steps() -> None:
    table = Table(off(0.004, -0.003, 0.05))
    track = table.drive(PController(STEP), 10)
    assert np.linalg.norm(track[-1] - GOAL) < 0.002
    np.testing.assert_allclose(track[1] - track[0], [-0.004, 0.003, -0.01], atol=1e-6)  # centred in one step; 0.3 * 5 cm is capped


def test_the_p_controller_is_equation_50() -> None:
    action = PController(STEP).action({"tool/pose": np.float32([*(off(0.002, -0.001, 0.01)), 0, 0, 0, 1])}, SEGMENT)
    np.testing.assert_allclose(action, [-0.2, 0.1, -0.3], atol=1e-5)
    assert action.dtype == np.float32
    with pytest.raises(ValueError, match="goal"):
        PController(STEP).action({"tool/pose": np.zeros(7, np.float32)}, Segment())


def test_the_hand_controller_goes_over_the_gap_and_then_in() -> None:
    track = Table(off(0.03, 0.0, 0.05)).drive(HandController(STEP), 14)
    low = track[track[:, 2] < GOAL[2] + 0.025]
    assert np.abs(low[:, 0] - GOAL[0]).max() < 0.002, "it goes down over the goal only"
    assert np.linalg.norm(track[-1] - GOAL) < 0.001


def test_the_null_controller_leaves_the_residual_alone() -> None:
    base = ControllerSource(NullController(STEP), SPACE)
    residual = SourceAction(np.float32([0.3, -0.7, 1.0]))
    mixed = mix(base.act(Table(GOAL).observation(), SEGMENT), [residual])
    assert mixed is not None and mixed.values.tobytes() == residual.values.tobytes()


@pytest.mark.parametrize("stiffness", [500.0, 3000.0, 9000.0])
def test_straight_down_presses_with_eight_newtons(stiffness: float) -> None:
    start = off(0.012, 0.0, 0.03)
    table = Table(start, height=float(GOAL[2]), stiffness=stiffness)
    tool_down = StraightDown(STEP, sensor_in_tool=np.eye(3))
    track = table.drive(tool_down, 60)
    assert table.up() == pytest.approx(8.0, abs=0.5)
    np.testing.assert_allclose(track[:, :2], np.tile(start[:2], (61, 1)), atol=1e-6)


def test_the_spiral_finds_a_hole_and_stays_in_it() -> None:
    start = off(0.0, 0.0, 0.01)
    table = Table(start, height=float(GOAL[2]), hole=(GOAL[0] + 0.0025, GOAL[1] - 0.001, 0.0012))
    track = table.drive(SpiralSearch(STEP, arc=0.001), 60)
    assert track[-1][2] < GOAL[2] - 0.01
    entered = track[track[:, 2] < GOAL[2] - 0.007]
    assert np.ptp(entered[:, :2], axis=0).max() < 1e-6, "once in, it no longer searches"


def test_the_spiral_is_archimedean_and_bounded() -> None:
    spiral = SpiralSearch(STEP)
    radii = np.array([np.linalg.norm(spiral.search(i)) for i in range(60)])
    assert (np.diff(radii) > -1e-9).all() and radii[0] == 0.0 and radii.max() == pytest.approx(0.005)
    fine = np.array([SpiralSearch(STEP, arc=0.0005).search(i) for i in range(160)])
    turns = np.unwrap(np.arctan2(fine[1:, 1], fine[1:, 0])) / (2 * np.pi)
    assert np.polyfit(turns, np.linalg.norm(fine[1:], axis=1), 1)[0] == pytest.approx(0.001, rel=0.05)
    np.testing.assert_allclose(np.linalg.norm(np.diff(fine[20:150], axis=0), axis=1), 0.0005, rtol=0.1)


def test_random_search_visits_five_places_of_the_episode_s_seed() -> None:
    def places(seed: int) -> np.ndarray:
        search = RandomSearch(STEP)
        search.begin(replace(CONTEXT, seed=seed))
        return np.array([search.search(i) for i in range(30)])

    first = places(1)
    assert len(np.unique(first, axis=0)) == 5 and np.linalg.norm(first, axis=1).max() <= 0.005
    np.testing.assert_array_equal(first, places(1))
    assert not np.array_equal(first, places(2))
    track = Table(off(0, 0, 0.005), height=float(GOAL[2])).drive(RandomSearch(STEP), 25)
    assert np.linalg.norm(track[:, :2] - GOAL[:2], axis=1).max() > 0.001


class Seen:
    """A localisation model that always says the same."""

    def __init__(self, centre: np.ndarray):
        self.centre, self.model_id = np.array(centre[:2]), f"seen/{centre[0]:.3f}"

    def __call__(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return self.centre


def test_localisation_comes_before_a_search_and_guides_the_expert() -> None:
    start = off(0.018, -0.014, 0.02)
    chained = Localised(STEP, localise=Seen(GOAL), then=StraightDown(STEP))
    track = Table(start, height=float(GOAL[2])).drive(chained, 20)
    assert np.linalg.norm(track[-1][:2] - GOAL[:2]) < 0.001 and track[2][2] == start[2] and track[-1][2] < GOAL[2]
    assert np.linalg.norm(Table(start).drive(CentreLine(STEP, localise=Seen(GOAL)), 20)[-1][:2] - GOAL[:2]) < 0.001
    lost = Localised(STEP, localise=Seen(np.array([9.0, 9.0])), then=StraightDown(STEP), patience=4)
    assert Table(start).drive(lost, 8)[-1][2] < start[2], "a model that never arrives does not keep the rest from its turn"


def test_the_collector_is_the_centre_line_with_every_fifth_action_drawn() -> None:
    source = ControllerSource(CentreLine(STEP), SPACE, noisy=0.2, seed=1)
    source.reset(CONTEXT)
    table = Table(off(0.0, 0.0, 0.02))
    answers = [source.act(table.observation(), SEGMENT) for _ in range(1000)]
    assert all((a.values == [0, 0, -1]).all() for a in answers)
    drawn = np.array([a.values + a.noise for a in answers])[[bool(a.noise.any()) for a in answers]]
    assert 150 < len(drawn) < 250 and np.abs(drawn).max() <= 1.0 + 1e-6 and drawn.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)
    table.position = off(0.0015, 0.0, 0.02)
    assert source.act(table.observation(), SEGMENT).values[2] == 0.0


def test_the_hash_is_over_class_parameters_and_code() -> None:
    hashes = {c.version_hash for c in (PController(STEP), PController(0.005), PController(STEP, gain=(1, 1, 0.5)), NullController(STEP))}
    assert len(hashes) == 4
    assert PController(STEP).version_hash == PController(STEP).version_hash
    newer = type("PController", (PController,), {"code": 2})
    assert newer(STEP).version_hash != PController(STEP).version_hash
    assert Localised(STEP, localise=Seen(GOAL), then=StraightDown(STEP)).version_hash != \
        Localised(STEP, localise=Seen(GOAL), then=SpiralSearch(STEP)).version_hash


def test_a_changed_controller_is_refused() -> None:
    source = ControllerSource(PController(STEP), SPACE)
    assert isinstance(source, ActionSource) and isinstance(source.controller, Controller)
    observation = Table(GOAL + 0.01).observation()
    source.reset(replace(CONTEXT, metadata={"base_hash": PController(STEP, gain=(1, 1, 1)).version_hash}))
    answer = source.act(observation, SEGMENT)
    assert answer.request_end and "base controller is PController/" in answer.fault and not answer.values.any()
    source.reset(replace(CONTEXT, metadata={"base_hash": source.base_hash}))
    assert not source.act(observation, SEGMENT).fault


class Policy:
    """Stands for a PolicyRunner: what the base controller may rely on of it."""

    name, needs_privileged, bundle_id, action_space = "policy", False, "b1", SPACE

    def __init__(self) -> None:
        self.context: EpisodeContext | None = None
        self.fault = ""

    def reset(self, context: EpisodeContext) -> None:
        self.context = context

    def act(self, observation: dict, segment: Segment, privileged: dict | None = None) -> SourceAction:
        return SourceAction(np.float32([0.1, 0.2, 0.3]), np.float32([0.5, 0.5, 0.5]), self.fault)

    def observe(self, observation: dict, executed: np.ndarray) -> None: ...


def test_a_policy_is_a_base_controller_without_its_noise() -> None:
    policy = Policy()
    source = ControllerSource(PolicyController(policy), SPACE)
    source.reset(replace(CONTEXT, deterministic=False, metadata={"exploration_noise": 0.3}))
    assert policy.context is not None and policy.context.deterministic and policy.context.metadata["exploration_noise"] == 0.0
    answer = source.act({}, SEGMENT)
    np.testing.assert_array_equal(answer.values, np.float32([0.1, 0.2, 0.3]))
    assert answer.noise is None and source.base_hash == "PolicyController/b1"
    policy.fault = "nan"
    mixed = mix(source.act({}, SEGMENT), [SourceAction(np.ones(3, np.float32))])
    assert mixed is not None and mixed.fault and not mixed.values.any()
    policy.bundle_id = ""
    with pytest.raises(ValueError, match="bundle"):
        PolicyController(policy)


def test_controllers_by_name() -> None:
    sawyer = load_robot("sawyer")
    for name, kind in CONTROLLERS.items():
        assert type(make_controller(name, sawyer, STEP)) is kind
    assert isinstance(make_controller("spiral_search", sawyer, STEP, Seen(GOAL)), Localised)
    assert isinstance(make_controller("centre_line", sawyer, STEP, Seen(GOAL)), CentreLine)
    with pytest.raises(ConfigError, match="unknown"):
        make_controller("magic", sawyer, STEP)
    with pytest.raises(ConfigError, match="gain"):
        make_controller("null_controller", sawyer, STEP, gain=1.0)


def test_the_force_in_the_base_frame_points_up_when_the_tool_presses_down() -> None:
    rng = np.random.default_rng(0)
    poses = np.array([[0, 0, 0, *quaternion_from_rpy(*rng.uniform(-3, 3, 3))] for _ in range(4)])
    from apprentice_core.rotations import quaternion_to_matrix

    forces = rng.normal(size=(4, 6))
    turned = force_in_base(forces, poses, np.eye(3))
    np.testing.assert_allclose(turned, [quaternion_to_matrix(p[3:]) @ f[:3] for p, f in zip(poses, forces, strict=True)], atol=1e-9)
    assert force_in_base(np.float32([0, 0, -5, 0, 0, 0]), np.append(np.zeros(3), DOWN), np.eye(3))[2] == pytest.approx(5.0)
