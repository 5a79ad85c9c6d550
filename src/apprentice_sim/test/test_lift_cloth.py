"""The cloth in the cell: pinched by friction, carried, saved, mirrored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from apprentice_control.scripted import ClothExpert
from apprentice_core.cell import EpisodeRequest, ResetRequest, SourceAction
from apprentice_core.config import load_cell
from apprentice_core.errors import ApprenticeError
from apprentice_core.wrench import GRAVITY
from apprentice_sim.cloth import in_world
from apprentice_sim.renderer import Renderer
from apprentice_sim.scenes.cloth import ClothScene
from apprentice_sim.sim_cell import SimCell
from apprentice_sim.world import World, WorldState

STEPS = 38
HOLD, LET_GO = (np.array([0, 0, 0, 0, 0, 0, g], dtype=np.float32) for g in (1.0, -1.0))


@pytest.fixture(scope="module")
def cell() -> Iterator[SimCell]:
    cell = SimCell("sawyer_cloth", "lift_cloth", seed=0, cameras=False)
    yield cell
    cell.close()


@pytest.fixture(scope="module")
def lifted() -> Iterator[tuple[SimCell, WorldState]]:
    """A cell whose expert has lifted the cloth, and that state."""
    cell = SimCell("sawyer_cloth", "lift_cloth", seed=0, cameras=False)
    assert _run(cell, 2)
    yield cell, cell.save_state()
    cell.close()


@pytest.fixture
def hanging(lifted: tuple[SimCell, WorldState]) -> SimCell:
    cell, state = lifted
    cell.restore_state(state)
    return cell


def _run(cell: SimCell, seed: int, source: str = "expert") -> bool:
    return cell.run(EpisodeRequest("lift_cloth", source, ResetRequest(seed=seed), steps=STEPS)).success


def _height(cell: SimCell, name: str = "cloth/top") -> float:
    return float(cell.world.objects()[name][0][2])


def _from_tool(cell: SimCell) -> np.ndarray:
    """The vertices seen from the pinch point."""
    assert cell.world.cloth is not None
    return cell.world.cloth.vertices - cell.world.link_pose("pinch_point")[0]


def test_a_pinched_cloth_hangs_does_not_slip_and_falls_when_let_go(hanging: SimCell) -> None:
    cell, wrench = hanging, []
    assert _height(cell) > 0.12 and _height(cell, "cloth") > 0.06
    held = _from_tool(cell)
    for _ in range(15):
        cell.step(HOLD)
        wrench.append(cell.loop.wrench.copy())
    between = np.flatnonzero(np.abs(held).max(axis=1) < 0.008)
    assert len(between) >= 2
    slipped = np.linalg.norm(_from_tool(cell)[between] - held[between], axis=1)
    assert slipped.max() < 5e-4, "what is between the pads stays there"
    rotation = cell.loop.kinematics.sensor_rotation(cell.backend.read().position)
    weight = -(rotation @ np.mean(wrench, axis=0)[:3])[2]
    assert weight == pytest.approx(ClothScene.towel.mass * GRAVITY, rel=0.25), "the wrist feels its weight"
    for _ in range(10):
        cell.step(LET_GO)
    assert _height(cell) < 0.06 and _height(cell, "cloth") < 0.03


def test_states_come_back_bit_for_bit(hanging: SimCell) -> None:
    state, cloth = hanging.save_state(), hanging.world.cloth
    assert cloth is not None

    def on() -> list[np.ndarray]:
        """Nobody commands the arm, so that it sags; the cloth swings."""
        out = []
        for _ in range(40):
            hanging.world.step()
            out += [*hanging.world.snapshot(), cloth.dynamics.velocity.copy()]
        return out

    first = on()
    assert np.abs(on()[-2] - first[-2]).max() > 0.001
    hanging.world.restore_state(state)
    for a, b in zip(first, on(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mirror_draws_the_same_cloth(hanging: SimCell, cell: SimCell) -> None:
    world, cameras = hanging.world, load_cell("sawyer_cloth").cameras
    ours, mirror = Renderer(world, cameras), World.mirror(world.description())
    theirs = Renderer(mirror, cameras)
    mirror.apply_snapshot(*world.snapshot())
    for name in cameras:
        np.testing.assert_array_equal(ours.render(name), theirs.render(name))
    image, depth = ours.render("wrist_left").astype(int), ours.render("wrist_depth").astype(int)
    kept, world.cloth = world.cloth, None
    ours._raster._known = False  # by the same renderer as with the cloth
    bare, far = ours.render("wrist_left").astype(int), ours.render("wrist_depth").astype(int)
    world.cloth = kept
    changed = np.abs(image - bare).sum(axis=2) > 60
    assert changed.sum() > 100 and (np.median(image[changed], axis=0) @ [-1, 0, 1]) > 60, "it is blue"
    nearer = (depth < far) | ((far == 0) & (depth > 0))
    assert nearer.sum() > 100 and (depth == far)[~nearer].all()
    with pytest.raises(ValueError, match="and 289 vertices"):
        mirror.apply_snapshot(world.snapshot()[0], world.snapshot()[1][:-3])
    # The same mirror follows another placement.
    cell.reset(ResetRequest("scene", seed=7))
    mirror.redescribe(cell.world.description())
    mirror.apply_snapshot(*cell.world.snapshot())
    name = "basket_back_left"
    np.testing.assert_array_equal(Renderer(cell.world, cameras).render(name), theirs.render(name))
    mirror.close()


def test_an_open_gripper_does_not_lift(cell: SimCell) -> None:
    class Open(ClothExpert):
        def act(self, *arguments: Any) -> SourceAction:
            answer = super().act(*arguments)
            answer.values[-1] = -1.0
            return answer

    cell.sources["open"] = Open(cell.profile, "cloth", space=cell.spec.action_space)
    assert not _run(cell, 2, "open")
    assert _height(cell) < 0.05


def test_without_friction_it_slips_out(cell: SimCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_world, "PAD_FRICTION", 0.0)
    assert not _run(cell, 2)
    assert _height(cell) < 0.06


def test_a_state_belongs_to_its_placement(cell: SimCell) -> None:
    state = cell.save_state()
    cell.world.reset_scene(seed=11)
    with pytest.raises(ApprenticeError, match="another placement"):
        cell.restore_state(state)


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


@pytest.mark.parametrize("n", [1, 10**6, "17", None])
def test_a_mirror_refuses_a_cloth_of_a_foreign_size(cell: SimCell, n: Any) -> None:
    told = json.loads(cell.world.description())
    told["cloth"]["n"] = n
    with pytest.raises(ApprenticeError, match="not a scene description"):
        World.parse(json.dumps(told))
