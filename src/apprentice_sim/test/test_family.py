"""The procedural family of connectors and its fast world."""

from __future__ import annotations

import numpy as np
import pybullet as p
import pytest

from apprentice_core.cell import ResetRequest
from apprentice_core.config import load_task
from apprentice_sim.bodies import part_vertices
from apprentice_sim.connectors import PRESETS, family
from apprentice_sim.connectors.connector import Connector, offset
from apprentice_sim.connectors.family import CLEARANCE, CLUSTERS, HELD_OUT, domain_look, make
from apprentice_sim.connectors.floating import FloatingPlug
from apprentice_sim.sim_cell import SimCell

FAMILY = family()


def expert(world: FloatingPlug) -> np.ndarray:
    tip = world.tip
    return np.array([0.0, 0.0, -1.0]) if np.linalg.norm(tip[:2]) <= 1e-3 else np.append(-tip[:2] / 0.01, 0.0)


def test_the_family_is_what_the_spec_asks_for() -> None:
    assert len(FAMILY) >= 30 + len(HELD_OUT) and {c.cluster for c in FAMILY.values()} == set(CLUSTERS)
    assert all(CLEARANCE[0] <= c.clearance <= CLEARANCE[1] and 0.005 <= c.depth <= 0.015 for c in FAMILY.values())
    assert family() == FAMILY, "a seed, and nothing else, makes it"
    assert len({repr(c.posts) for c in FAMILY.values()}) >= 30, "shapes differ"
    for name in HELD_OUT:
        assert {c.name for c in FAMILY.values() if c.family == name} == {name, f"{name}_b"}
    with pytest.raises(ValueError, match="no cluster"):
        make("x", "hexagon", 0)


SOME = [*PRESETS.values(), FAMILY["nema_15"], FAMILY["round_0"], FAMILY["d_shape_1"]]


@pytest.mark.parametrize("connector", SOME, ids=lambda c: c.name)
def test_every_post_has_its_clearance_and_every_piece_keeps_out_of_the_wells(connector: Connector) -> None:
    socket = connector.socket()
    for post in connector.posts:
        outline = offset(post.outline, connector.clearance)
        edge = np.roll(outline, -1, axis=0) - outline
        normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
        level = np.einsum("ki,ki->k", normal, outline)
        for part in socket.parts[:-1]:
            corners = part_vertices(part)[:, :2]
            # A convex piece is outside a convex well where one side of the well has it all beyond.
            beyond = np.einsum("ki,ni->kn", normal, corners).min(axis=1) - level
            assert beyond.max() > -1e-6


def test_the_expert_inserts_in_the_fast_world_and_equal_seeds_repeat_it() -> None:
    world = FloatingPlug(FAMILY["square_1"])
    runs = []
    for _ in range(2):
        seen = world.reset((0.008, -0.006), 4)
        first = seen.image
        for _ in range(12):
            seen = world.step(expert(world))
        assert seen.inserted and (seen.image != first).any()
        runs.append(seen)
    assert np.array_equal(runs[0].error, runs[1].error) and np.array_equal(runs[0].image, runs[1].image)
    world.reset((0.015, 0.0), 4)
    for _ in range(12):
        seen = world.step(np.array([0.0, 0.0, -1.0]))
    assert not seen.inserted and seen.error[2] > FAMILY["square_1"].depth - 1e-3, "it stands on the socket's face"
    points = p.getContactPoints(world._plug, world._socket, physicsClientId=world.client)
    assert sum(c[9] * c[7][2] for c in points) == pytest.approx(-seen.force[2], rel=0.05)
    assert np.linalg.norm(seen.force) <= 25.0 + 1e-6 and min(c[8] for c in points) > -1e-4
    world.close()


def test_the_robots_of_a_domain_see_it_differently() -> None:
    images = []
    for robot in (0, 1):
        world = FloatingPlug(FAMILY["slot_0"], robot)
        images.append(world.reset((0.0, 0.0), 0).image.astype(int))
        world.close()
    assert images[0].shape == (64, 64, 3) and np.abs(images[0] - images[1]).mean() > 10
    assert domain_look("slot_0", 0) == domain_look("slot_0", 0) != domain_look("slot_1", 0)


def test_a_connector_of_the_family_on_the_arm() -> None:
    task = load_task("insert_usb").model_copy(update={"connector": "europlug", "name": "insert_europlug"})
    cell = SimCell("sawyer_insertion", task, cameras=False, drive_resets=False)
    assert cell.reset(ResetRequest(seed=2)).ok
    goal = cell.world.scene.tool_goal  # type: ignore[union-attr]
    for _ in range(14):
        error = goal - cell.observe()["tool/pose"][:3]
        result = cell.step(np.clip(np.array([1.0, 1.0, 0.3]) * error / 0.01, -1.0, 1.0).astype(np.float32))
    assert result.info["success"] and cell.observe()["connection/connected"].tolist() == [1.0]
    cell.close()
