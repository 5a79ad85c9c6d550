"""The cloth alone: rest, energy, contacts, what it costs to look at it."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.config import load_task
from apprentice_core.errors import ApprenticeError
from apprentice_sim.bodies import Part
from apprentice_sim.cloth import Cloth, ClothDynamics
from apprentice_sim.cloth.contacts import Boxes, box_of_part
from apprentice_sim.cloth.raster import ClothRaster
from apprentice_sim.scenes import make_scene
from apprentice_sim.scenes.cloth import ClothScene

TOWEL = ClothScene.towel
FLAT = (1.0, 0.0, 0.0, 0.0)
HALF = TOWEL.thickness / 2


def _boxes(*parts: tuple[Part, tuple[float, float, float]], friction: float = 0.6) -> Boxes:
    boxes = Boxes([box_of_part(part, friction) for part, _ in parts])
    boxes.place([(*at, 0.0, 0.0, 0.0, 1.0) for _, at in parts])
    return boxes


FLOOR = (Part("box", (1.0, 1.0, 0.1)), (0.0, 0.0, -0.05))
NOTHING = Boxes([])


def _dropped(height: float, tilt: float) -> ClothDynamics:
    """At rest in the air, turned by `tilt` about y."""
    flat = TOWEL.flat(0.0, 0.0, 0.0, 0.4)
    tilted = np.stack([flat[:, 0] * np.cos(tilt), flat[:, 1], height + flat[:, 0] * np.sin(tilt)], axis=1)
    return ClothDynamics(TOWEL.at(tilted))


def test_a_cloth_at_rest_stays_and_sleeps() -> None:
    cloth, floor = _dropped(HALF, 0.0), _boxes(FLOOR)
    before = cloth.position.copy()
    for _ in range(250):
        cloth.step(floor, NOTHING)
    assert np.abs(cloth.position - before).max() < 1e-4 and cloth.asleep and not cloth.velocity.any()
    # A floor that is pulled away wakes it.
    floor.move(floor.position - [0.0, 0.0, 0.001], floor.turn)
    cloth.step(floor, NOTHING)
    assert not cloth.asleep


def test_energy_does_not_grow() -> None:
    cloth, floor = _dropped(0.12, 0.9), _boxes(FLOOR)
    energy = [cloth.energy()]
    for _ in range(500):
        cloth.step(floor, NOTHING)
        energy.append(cloth.energy())
    assert np.diff(energy).max() < 0.002 * energy[0], "elastic energy that comes back is all that may"
    assert energy[-1] < 0.2 * energy[0] and np.isfinite(cloth.position).all()
    assert cloth.position[:, 2].min() > HALF - 1e-4, "nothing is below the floor"


def test_a_cloth_hangs_by_its_length() -> None:
    cloth, corner = _dropped(0.3, 0.0), 0
    at = cloth.position[corner].copy()
    for _ in range(1000):
        cloth.step(NOTHING, NOTHING, (corner, at))
    diagonal = TOWEL.side * np.sqrt(2)
    hanging = at[2] - cloth.position[:, 2].min()
    assert 0.95 * diagonal < hanging < 1.35 * diagonal and np.abs(cloth.velocity).max() < 0.5


def test_it_drapes_over_a_block() -> None:
    block = (Part("box", (0.05, 0.05, 0.05)), (0.0, 0.0, 0.025))
    cloth, stands = _dropped(0.07, 0.0), _boxes(FLOOR, block)
    for _ in range(500):
        cloth.step(stands, NOTHING)
    top = cloth.position[np.abs(cloth.position[:, :2]).max(axis=1) < 0.02]
    assert np.allclose(top[:, 2], 0.05 + HALF, atol=1e-3)
    inside = (np.abs(cloth.position - [0.0, 0.0, 0.025]) < 0.025).all(axis=1)
    assert not inside.any() and cloth.position[:, 2].min() < 0.02, "its edges hang down"


def test_equal_steps_give_equal_bits_and_states_come_back() -> None:
    a, b, floor = _dropped(0.05, 0.5), _dropped(0.05, 0.5), _boxes(FLOOR)
    for _ in range(60):
        a.step(floor, NOTHING)
        b.step(floor, NOTHING)
    np.testing.assert_array_equal(a.position, b.position)
    saved = a.save()
    for _ in range(60):
        a.step(floor, NOTHING)
    a.restore(saved)
    for _ in range(30):
        a.step(floor, NOTHING)
        b.step(floor, NOTHING)
    np.testing.assert_array_equal(a.position, b.position)
    with pytest.raises(ValueError, match="a square of 17 x 17 has 289"):
        ClothDynamics(Cloth("c", 17, 0.1, 0.1, 0.004, FLAT, (0.0, 0.0, 0.0)))


def test_contacts_know_the_way_out_and_a_pinch() -> None:
    plate = Part("box", (0.1, 0.1, 0.01))
    below, above = (plate, (0.0, 0.0, 0.0)), (plate, (0.0, 0.0, 0.013))
    points = np.array([[0.0, 0.0, 0.0065], [0.0, 0.0, 0.001], [0.2, 0.0, 0.0]])
    found = _boxes(below).touch(points, points.min(axis=0), points.max(axis=0), 0.002)
    assert found is not None and found.point.tolist() == [0, 1] and not found.pinched.any()
    np.testing.assert_allclose(found.normal, [[0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(found.depth, [0.0005, 0.006])
    both = _boxes(below, above).touch(points[:1], points[0], points[0], 0.002)
    assert both is not None and both.pinched.all() and both.share.tolist() == [0.5, 0.5]
    held = points[:1].copy()
    both.push(held)
    np.testing.assert_allclose(held, points[:1], atol=1e-12)
    # Friction takes the whole slip up to its bound, and the fingers' grip raises that bound.
    for grip, left in ((0.0, 0.02 - 0.6 * 0.0005), (0.1, 0.0)):
        slipped = points[:1] + np.array([0.02, 0.0, 0.0])
        both.rub(slipped, points[:1], grip)
        assert slipped[0, 0] == pytest.approx(left, abs=1e-12)
    assert _boxes(below).touch(points[2:], points[2], points[2], 0.002) is None


def test_starts_are_drawn_by_the_seed_alone() -> None:
    scene = make_scene("cloth", load_task("lift_cloth"))
    one = scene.cloth("", 3)
    assert one is not None and one == scene.cloth("random", 3) != scene.cloth("", 4)
    assert scene.place("random", 3) == () and scene.tracked[:2] == ("cloth", "cloth/top")
    vertices = np.reshape(one.vertices, (-1, 3))
    assert vertices[:, 2].min() > HALF - 1e-3 and vertices[:, 2].max() < 0.08
    with pytest.raises(ApprenticeError, match="no start named 'normal/n0'"):
        scene.place("normal/n0", None)


def test_nearer_things_hide_a_cloth() -> None:
    raster = ClothRaster(TOWEL.n, (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.5, 0.5)
    # Looks down on the cloth from 1 m, without perspective: depth 0.5 there.
    camera = np.diag([10.0, 10.0, -1.0, 1.0])
    vertices = TOWEL.flat(0.0, 0.0, 0.0, 0.0)
    image, depth = np.zeros((40, 40, 3), dtype=np.uint8), np.ones((40, 40), dtype=np.float32)
    depth[:, :20] = 0.4
    raster.draw(vertices, camera, image, depth)
    seen = image[:, :, 0] > 0
    assert not seen[:, :20].any() and np.allclose(depth[seen], 0.5)
    # 16 cm are 1.6 of the image's 2 units: 32 of 40 pixels, half of them hidden.
    assert seen.sum() == 32 * 16
    assert image[20, 30, 0] == 255 and 0 < image[5, 30, 0] < 255, "the edge is darker"
    behind = camera.copy()
    behind[3] = [0.0, 0.0, 0.0, -1.0]
    raster.draw(vertices, behind, before := image.copy(), np.ones((40, 40), dtype=np.float32))
    np.testing.assert_array_equal(before, image)
