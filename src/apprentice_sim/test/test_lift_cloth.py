"""The cloth in the cell: pinched by friction, carried, saved, mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from apprentice_control.scripted import make_expert
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.config import load_cell
from apprentice_core.errors import ApprenticeError
from apprentice_core.wrench import GRAVITY
from apprentice_sim.cloth import in_world
from apprentice_sim.renderer import Renderer
from apprentice_sim.scenes.cloth import ClothScene
from apprentice_sim.sim_cell import SimCell
from apprentice_sim.world import World

STEPS = 45
HOLD, LET_GO = (np.array([0, 0, 0, 0, 0, 0, g], dtype=np.float32) for g in (1.0, -1.0))


@pytest.fixture(scope="module")
def cell() -> Iterator[SimCell]:
    cell = SimCell("sawyer_cloth", "lift_cloth", seed=0, cameras=False)
    yield cell
    cell.close()


def _lift(cell: SimCell, seed: int, source: str = "expert") -> bool:
    return cell.run(EpisodeRequest("lift_cloth", source, ResetRequest(seed=seed), steps=STEPS)).success


def _height(cell: SimCell, name: str = "cloth/top") -> float:
    return float(cell.world.objects()[name][0][2])


def test_a_pinched_cloth_hangs_does_not_slip_and_falls_when_let_go(cell: SimCell) -> None:
    assert _lift(cell, 0)
    assert cell.world.cloth is not None
    held = [cell.world.cloth.vertices - cell.world.link_pose("pinch_point")[0]]
    wrench = []
    for _ in range(15):
        cell.step(HOLD)
        wrench.append(cell.loop.wrench.copy())
        held.append(cell.world.cloth.vertices - cell.world.link_pose("pinch_point")[0])
    between = np.flatnonzero(np.abs(held[0]).max(axis=1) < 0.008)
    assert len(between) >= 2
    slipped = np.linalg.norm(held[-1][between] - held[0][between], axis=1)
    assert slipped.max() < 5e-4, "what is between the pads stays there"
    turned = cell.loop.kinematics.sensor_rotation(cell.backend.read().position)
    weight = -(turned @ np.mean(wrench, axis=0)[:3])[2]
    assert weight == pytest.approx(ClothScene.towel.mass * GRAVITY, rel=0.25), "the wrist feels its weight"
    for _ in range(12):
        cell.step(LET_GO)
    assert _height(cell) < 0.06 and _height(cell, "cloth") < 0.03


def test_an_open_gripper_does_not_lift(cell: SimCell) -> None:
    class Open:
        """The expert, its fingers kept open."""

        def __init__(self) -> None:
            self.expert = make_expert(cell.profile, cell.task_config, cell.spec.action_space, 0.1)

        def __getattr__(self, name: str) -> object:
            return getattr(self.expert, name)

        def act(self, *arguments: object) -> object:
            answer = self.expert.act(*arguments)
            answer.values[-1] = -1.0
            return answer

    cell.sources["open"] = Open()
    assert not _lift(cell, 0, "open")
    assert _height(cell) < 0.05


def test_without_friction_it_slips_out(cell: SimCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_world, "PAD_FRICTION", 0.0)
    assert not _lift(cell, 0)
    assert _height(cell) < 0.06


def test_states_come_back_bit_for_bit(cell: SimCell) -> None:
    _lift(cell, 2)
    cloth, state = cell.world.cloth, cell.save_state()
    assert cloth is not None

    def on() -> list[np.ndarray]:
        for _ in range(40):
            cell.world.step()
        return [*cell.world.snapshot(), cloth.dynamics.velocity.copy()]

    first = on()
    for _ in range(3):
        cell.step(LET_GO)
    assert np.abs(cell.world.snapshot()[1] - first[1]).max() > 0.005
    cell.restore_state(state)
    second = on()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    cell.reset(ResetRequest(seed=5))
    with pytest.raises(ApprenticeError, match="another placement"):
        cell.restore_state(state)


def test_a_mirror_draws_the_same_cloth(cell: SimCell) -> None:
    _lift(cell, 2)
    cameras = load_cell("sawyer_cloth").cameras
    ours = Renderer(cell.world, cameras)
    mirror = World.mirror(cell.world.description())
    theirs = Renderer(mirror, cameras)
    for _ in range(2):
        mirror.apply_snapshot(*cell.world.snapshot())
        for name in cameras:
            np.testing.assert_array_equal(ours.render(name), theirs.render(name))
        image, depth = ours.render("wrist_left").astype(int), ours.render("wrist_depth").astype(int)
        kept, cell.world.cloth = cell.world.cloth, None
        bare, far = ours.render("wrist_left").astype(int), ours.render("wrist_depth").astype(int)
        cell.world.cloth = kept
        changed = np.abs(image - bare).sum(axis=2) > 60
        assert changed.sum() > 100 and (depth <= far).all() and (depth < far).sum() > 100
        assert np.median(image[changed][:, 2]) > np.median(image[changed][:, 0]) + 60, "it is blue"
        for _ in range(4):
            cell.step(LET_GO)
    with pytest.raises(ValueError, match="and 289 vertices"):
        mirror.apply_snapshot(cell.world.snapshot()[0], cell.world.snapshot()[1][:-3])
    cell.reset(ResetRequest(seed=7))
    mirror.redescribe(cell.world.description())
    mirror.apply_snapshot(*cell.world.snapshot())
    np.testing.assert_array_equal(ours.render("basket_back_left"), theirs.render("basket_back_left"))
    mirror.close()


def test_a_goal_image_shows_the_cloth_of_its_state() -> None:
    cell = SimCell("sawyer_cloth", "lift_cloth", seed=1, cameras=["basket_front_left"])
    cell.reset(ResetRequest(seed=1))
    at_start, state = cell.observe()["camera/basket_front_left"], cell.save_state()
    assert cell.world.cloth is not None
    cell.world.cloth.dynamics.position[:, 2] += 0.1
    lifted = cell.world.cloth.vertices.copy()
    np.testing.assert_array_equal(cell.render_goal(state)["camera/basket_front_left"], at_start)
    np.testing.assert_array_equal(cell.world.cloth.vertices, lifted)
    cell.close()
