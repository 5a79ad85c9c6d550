"""The world: rest, weight, mirrors, states."""

from __future__ import annotations

import numpy as np
import pybullet as p
import pytest

from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_core.wrench import GRAVITY
from apprentice_sim.bodies import hull_part, part_vertices, radius
from apprentice_sim.renderer import Renderer
from apprentice_sim.scenes import make_scene
from apprentice_sim.shapes import SHAPES
from apprentice_sim.sim_cell import SimCell
from apprentice_sim.world import World


def _lift_world() -> World:
    return World(load_robot("sawyer"), scene=make_scene("lift", load_task("lift")))


def test_every_shape_rests_where_it_is_placed() -> None:
    world = _lift_world()
    names = sorted(SHAPES)
    spots = [(0.47 + 0.085 * (i % 4), -0.13 + 0.085 * (i // 4)) for i in range(len(names))]
    bodies = [SHAPES[n].body(n, "blue").at(x, y, SHAPES[n].rest_height, 0.3) for n, (x, y) in zip(names, spots, strict=True)]
    world.set_bodies((*world.bodies, *bodies))
    before = world.objects()
    p.resetBasePositionAndOrientation(world.robot, [5, 0, 0], [0, 0, 0, 1], physicsClientId=world.client)
    for _ in range(1000):
        world.step()
    for name, (pose, twist) in world.objects().items():
        assert np.linalg.norm(pose[:3] - before[name][0][:3]) < 1.5e-3, name
        assert np.abs(twist).max() < 5e-3, name
    world.close()


def test_shapes_fit_the_gripper_and_hulls_are_centred() -> None:
    for shape in SHAPES.values():
        assert 0.025 < shape.mass < 0.15, shape.name
        assert radius(shape.parts) < 0.04, shape.name
        corners = np.concatenate([part_vertices(q) for q in shape.parts])
        assert np.ptp(corners[:, 1]) < 0.06 < 0.085
    pyramid = hull_part([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)])
    assert part_vertices(pyramid)[:, 2].min() == pytest.approx(-0.25)


def test_random_placement_is_seeded_and_keeps_clear() -> None:
    scene = make_scene("lift", load_task("lift"))
    assert scene.place("", 3) == scene.place("", 3) != scene.place("", 4)
    unseen = {s for start in load_task("lift").starts["unseen"].values() for s in (start.shapes["green"],)}
    for seed in range(200):
        bodies = {b.name: b for b in scene.place("", seed)}
        assert bodies["green"].shape not in unseen
        xy = np.array([b.pose[:2] for b in bodies.values()])
        sizes = [radius(b.parts) for b in bodies.values()]
        for i in range(3):
            for j in range(i):
                assert np.linalg.norm(xy[i] - xy[j]) > sizes[i] + sizes[j]


@pytest.mark.parametrize(("task", "sets"), [("lift", {"normal", "hard", "unseen"}), ("pick_place", {"normal", "unseen"})])
def test_named_starts(task: str, sets: set[str]) -> None:
    config = load_task(task)
    scene = make_scene(task, config)
    assert set(config.starts) == sets and all(len(s) == 10 for s in config.starts.values())
    for group, starts in config.starts.items():
        for name in starts:
            assert len(scene.place(f"{group}/{name}", None)) == len(scene.objects)
    with pytest.raises(ApprenticeError, match="normal/n0"):
        scene.place("normal/none", None)


def test_a_set_is_varied_by_the_seed() -> None:
    config = load_task("stack_green_on_red")
    scene = make_scene("lift", config)
    assert scene.place("unseen", 5) == scene.place("unseen", 5) != scene.place("unseen", 6)
    known = [tuple(s.shapes[n] for n in ("red", "green", "blue")) for s in config.starts["unseen"].values()]
    drawn = set()
    for seed in range(60):
        bodies = {b.name: b for b in scene.place("unseen", seed)}
        shapes = tuple(bodies[n].shape for n in ("red", "green", "blue"))
        start = list(config.starts["unseen"].values())[known.index(shapes)]
        moved = np.array(bodies["green"].pose[:2]) - start.objects["green"][:2]
        assert np.abs(moved).max() <= scene.spread
        drawn.add(shapes)
    assert len(drawn) > 5
    with pytest.raises(ApprenticeError, match="no start named 'unseen'"):
        scene.place("unseen", None)


@pytest.mark.parametrize(("cell", "task"), [("sawyer_lift", "lift"), ("widowx_pick_place", "pick_place")])
def test_a_mirror_draws_the_same_pixels(cell: str, task: str) -> None:
    sim = SimCell(cell, task, cameras=False, seed=2)
    rng = np.random.default_rng(0)
    for _ in range(6):
        sim.step(rng.uniform(-1, 1, 7).astype(np.float32))
    cameras = load_cell(cell).cameras
    mirror = World.mirror(sim.world.description())
    mirror.apply_snapshot(*sim.world.snapshot())
    ours, theirs = Renderer(sim.world, cameras), Renderer(mirror, cameras)
    for name in cameras:
        image = ours.render(name)
        np.testing.assert_array_equal(image, theirs.render(name))
        assert image.shape[:2] == cameras[name].record and np.ptp(image) > 50
    version = sim.world.version
    sim.world.reset_scene(seed=9)
    assert sim.world.version > version
    mirror.redescribe(sim.world.description())
    mirror.apply_snapshot(*sim.world.snapshot())
    name = next(iter(cameras))
    np.testing.assert_array_equal(ours.render(name), theirs.render(name))
    mirror.close()
    sim.close()


def test_foreign_descriptions_and_snapshots_are_refused() -> None:
    world = _lift_world()
    for text in ("", "{}", '{"format": 99}', "[1, 2]"):
        with pytest.raises(ApprenticeError):
            World.mirror(text)
    with pytest.raises(ValueError, match="does not fit"):
        world.apply_snapshot(np.zeros(3), np.zeros(7))
    world.close()


def test_the_wrist_reads_a_known_weight(lift: SimCell) -> None:
    """0.2 kg hung below the pinch point: 1.96 N downwards on the tool, in the sensor frame, and its torque about the sensor."""
    lift.reset()
    world, link = lift.world, lift.world.link_index["right_gripper_base"]
    weight = 0.2 * GRAVITY
    samples = []
    for i in range(600):
        at = world.link_pose("pinch_point")[0] + np.array([0.02, 0.0, 0.0])
        p.applyExternalForce(world.robot, link, [0, 0, -weight], at, p.WORLD_FRAME, physicsClientId=world.client)
        lift.loop.tick()
        lift.backend.advance()
        if i >= 500:
            samples.append(lift.loop.wrench.copy())
    rotation = lift.loop.kinematics.sensor_rotation(lift.backend.read().position)
    wrench = np.mean(samples, axis=0)
    np.testing.assert_allclose(rotation @ wrench[:3], [0, 0, -weight], atol=0.05)
    np.testing.assert_allclose(rotation @ wrench[3:], np.cross([0.02, 0, 0], [0, 0, -weight]), atol=0.02)


def test_states_are_saved_and_restored(lift: SimCell) -> None:
    lift.reset()
    state = lift.save_state()
    before = lift.world.snapshot()
    for _ in range(3):
        lift.step(np.array([1, 0, -1, 0, 0, 1, -1], dtype=np.float32))
    assert np.abs(lift.world.snapshot()[0] - before[0]).max() > 0.01
    lift.restore_state(state)
    np.testing.assert_array_equal(lift.world.snapshot()[0], before[0])
    lift.reset()
    with pytest.raises(ApprenticeError, match="another placement"):
        lift.restore_state(state)
