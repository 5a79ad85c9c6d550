"""The fast rasteriser shows what the camera's calibration says, in the colours of PyBullet's own renderer."""

import gc
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.camera_model import CameraModel
from apprentice_core.config import load_cell, load_robot
from apprentice_sim.bodies import Body, Part
from apprentice_sim.raster import _pipe
from apprentice_sim.renderer import Renderer
from apprentice_sim.world import World

pytestmark = pytest.mark.skipif(_pipe() is None, reason="this machine has no libX11, so PyBullet draws")
BALL = Body("ball", "ball", (Part("sphere", (0.02,)),), (1.0, 0.0, 1.0, 1.0))


def _both(renderer: Renderer, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The image as the rasteriser and as PyBullet draws it."""
    ours = renderer.render(name)
    known, renderer._raster._known = renderer._raster._known, False
    try:
        return ours, renderer.render(name)
    finally:
        renderer._raster._known = known


@pytest.fixture
def renderer() -> Renderer:
    cell = load_cell("sawyer_lift")
    return Renderer(World(load_robot(cell.robot)), cell.cameras)


@pytest.mark.parametrize("name", ["basket_front_left", "basket_back_left", "basket_front_right"])
def test_a_ball_is_seen_where_the_calibration_projects_it(renderer: Renderer, name: str) -> None:
    camera = renderer.cameras[name]
    k = np.reshape(CameraModel.from_fov(camera.raw, camera.fov).at_record_size(camera.record).k, (3, 3))
    view = np.reshape(renderer._view(camera), (4, 4)).T
    bare = _both(renderer, name)
    errors = []
    for place in ((0.5, -0.1, 0.05), (0.62, 0.08, 0.05), (0.7, 0.0, 0.08), (0.58, -0.02, 0.12), (0.55, 0.1, 0.03)):
        renderer.world.set_bodies((BALL.at(*place, 0.0),))
        x, y, z, _ = view @ np.r_[place, 1.0]
        wanted = k @ np.array([x / -z, y / z, 1.0])
        seen = []
        for image, without in zip(_both(renderer, name), bare, strict=True):
            share = np.abs(image.astype(float) - without).sum(axis=2)
            assert share.max() > 200
            rows, columns = np.indices(share.shape)
            seen.append(np.array([(columns * share).sum(), (rows * share).sum()]) / share.sum())
        assert np.abs(seen[0] - seen[1]).max() < 1.0, "within a pixel of PyBullet's"
        errors.append(seen[0] - wanted[:2])
    assert np.abs(np.mean(errors, axis=0)).max() < 0.4


def test_the_colours_are_those_of_pybullets_renderer(renderer: Renderer) -> None:
    colours = {"red": (0.9, 0.1, 0.1, 1.0), "grey": (0.5, 0.5, 0.5, 1.0), "blue": (0.1, 0.2, 0.8, 1.0)}
    for colour in colours.values():
        plate = Body("plate", "plate", (Part("box", (0.4, 0.5, 0.01)),), colour).at(0.6, 0.0, 0.0, 0.0)
        renderer.world.set_bodies((plate,))
        ours, theirs = (image[55:60, 60:66].reshape(-1, 3).mean(axis=0) for image in _both(renderer, "basket_front_left"))
        np.testing.assert_allclose(ours, theirs, atol=8)
    renderer.world.set_bodies(())
    assert (renderer.render("basket_front_left")[60:, 64] == 255).all(), "a body that was taken out is not seen any more"


def test_pybullet_draws_where_the_rasteriser_cannot_be_loaded(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = _both(renderer, "basket_front_left")[1]
    monkeypatch.setattr("apprentice_sim.raster._pipe", lambda: None)
    without = Renderer(renderer.world, renderer.cameras)
    np.testing.assert_array_equal(without.render("basket_front_left"), theirs)


def test_worlds_that_are_gone_leave_nothing_behind() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    def once() -> None:
        cell = load_cell("sawyer_insertion")
        world = World(load_robot(cell.robot))
        Renderer(world, cell.cameras).render("side")
        world.close()
        gc.collect()

    for _ in range(12):  # the allocator's pools fill first
        once()
    before = resident()
    for _ in range(15):
        once()
    assert resident() - before < 15 * 0.4e6
