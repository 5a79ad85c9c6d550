"""Connectors in the simulated cell: statics, the held plug, the P-controller, the connection signal, wear."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pybullet as p
import pytest

from apprentice_control.base import ControllerSource, make_controller
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.config import load_robot, load_task
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.streams import CONNECTED
from apprentice_core.wrench import GRAVITY
from apprentice_sim.bodies import Body, Part
from apprentice_sim.connectors import PRESETS, find_connector
from apprentice_sim.connectors.connector import REPLACE_CYCLES
from apprentice_sim.renderer import Renderer
from apprentice_sim.scenes.insertion import InsertionScene
from apprentice_sim.sim_cell import SimCell
from apprentice_sim.world import World


@pytest.fixture(scope="module")
def usb() -> Iterator[SimCell]:
    cell = SimCell("sawyer_insertion", "insert_usb", cameras=False)
    space = cell.spec.action_space
    cell.sources["p_controller"] = ControllerSource(make_controller("p_controller", cell.profile, 0.01), space)
    yield cell
    cell.close()


def request(cell: SimCell, seed: int, goal: np.ndarray | None = None, **more: object) -> EpisodeRequest:
    goal = cell.world.scene.tool_goal if goal is None else goal  # type: ignore[union-attr]
    metadata = {"goal": {"position": goal.tolist()}, "start": {"tool": (goal + np.array([0.0, 0.0, 0.05])).tolist()}}
    return EpisodeRequest("insert_usb", "p_controller", ResetRequest(seed=seed), metadata=metadata, **more)  # type: ignore[arg-type]


def press(cell: SimCell, steps: int, down: float) -> None:
    for _ in range(steps):
        cell.step(np.array([0.0, 0.0, down], dtype=np.float32))


def pushed(world: World, plug: str, other: str) -> float:
    """Sum of the contact forces on the plug along z, N."""
    points = p.getContactPoints(world.uid(plug), world.uid(other), physicsClientId=world.client)
    return sum(c[9] * c[7][2] for c in points)


def test_a_plug_rests_under_its_weight_on_a_spring_of_known_stiffness() -> None:
    world = World(load_robot("sawyer_insertion"), scene=InsertionScene(load_task("insert_usb")))
    plug, stiffness = PRESETS["usb"].plug().at(0.6, 0.0, 0.1, 0.0), 2000.0
    pad = Body("pad", "pad", (Part("box", (0.05, 0.05, 0.02)),), (1.0, 1.0, 1.0, 1.0), stiffness=stiffness, damping=20.0)
    world.set_bodies((pad.at(0.6, 0.0, 0.1 - PRESETS["usb"].reach - 0.01, 0.0), plug))
    for _ in range(1500):
        p.applyExternalForce(world.uid("plug"), -1, [0, 0, -5.0], [0.6, 0.0, 0.0], p.WORLD_FRAME, physicsClientId=world.client)
        world.step()
    points = p.getContactPoints(world.uid("plug"), world.uid("pad"), physicsClientId=world.client)
    load = plug.mass * GRAVITY + 5.0
    assert sum(c[9] for c in points) == pytest.approx(load, rel=0.02)
    # Each contact point is such a spring: they share the load.
    assert -sum(c[8] for c in points) * stiffness == pytest.approx(load, rel=0.05)
    world.close()


def test_a_press_reads_the_same_newtons_at_the_wrist_and_in_the_contact(usb: SimCell) -> None:
    beside = usb.world.scene.tool_goal + np.array([0.012, 0.0, 0.02])  # type: ignore[union-attr]
    assert usb.reset(ResetRequest(seed=3), beside).ok
    press(usb, 8, -0.3)
    press(usb, 5, 0.0)
    wrist, contact = -usb.observe()["wrist/wrench"][2], pushed(usb.world, "plug", "socket")
    assert contact > 4.0 and wrist == pytest.approx(contact, rel=0.05)
    heights = []
    for _ in range(3):
        press(usb, 1, 0.0)
        heights.append(usb.privileged()["object/plug/pose"][2])
    assert np.ptp(heights) < 2e-5, "it stands still on the socket"


def test_the_p_controller_inserts_without_tunnelling_and_the_signal_closes(usb: SimCell) -> None:
    deepest = []
    usb.reset(ResetRequest(seed=1))
    goal = usb.world.scene.tool_goal  # type: ignore[union-attr]
    for _ in range(14):
        error = goal - usb.observe()["tool/pose"][:3]
        usb.step(np.clip(np.array([1.0, 1.0, 0.3]) * error / 0.01, -1.0, 1.0).astype(np.float32))
        points = p.getContactPoints(usb.world.uid("plug"), usb.world.uid("socket"), physicsClientId=usb.world.client)
        deepest.append(min((c[8] for c in points), default=0.0))
    assert usb.observe()[CONNECTED].tolist() == [1.0]
    assert min(deepest) > -1e-4, "no part of the plug stands in a wall"
    ref = usb.run(request(usb, 2, steps=20, end_on_success=True))
    assert ref.success and ref.steps < 20


def test_two_millimetres_beside_it_stays_outside(usb: SimCell) -> None:
    goal = usb.world.scene.tool_goal + np.array([0.002, 0.002, 0.0])  # type: ignore[union-attr]
    assert not usb.run(request(usb, 2, goal, steps=25)).success
    assert usb.privileged()["object/plug/pose"][2] - usb.privileged()["object/socket/pose"][2] > PRESETS["usb"].depth - 0.002
    assert usb.observe()[CONNECTED].tolist() == [0.0]


def test_equal_seeds_give_equal_episodes_and_the_reset_withdraws_a_plug_that_is_in(usb: SimCell) -> None:
    ends = []
    for _ in range(2):
        assert usb.run(request(usb, 7, steps=14)).success
        ends.append(usb.privileged()["object/plug/pose"])
    assert np.array_equal(ends[0], ends[1])
    assert usb.reset(ResetRequest("robot")).ok, "driven out of the socket, and still held as it was"
    assert usb.observe()["tool/pose"][2] > usb.world.scene.tool_goal[2] + 0.045  # type: ignore[union-attr]


def test_a_load_beyond_the_pads_slips_is_measured_and_stays(usb: SimCell) -> None:
    usb.reset(ResetRequest(seed=1))
    grip = usb.world.grip
    assert grip is not None and grip.slip()[0] < 1e-5

    def pull(newtons: float) -> None:
        for _ in range(200):
            at = p.getBasePositionAndOrientation(grip.uid, physicsClientId=usb.world.client)[0]
            p.applyExternalForce(grip.uid, -1, [0, 0, -newtons], at, p.WORLD_FRAME, physicsClientId=usb.world.client)
            usb.loop.tick()
            usb.backend.advance()

    pull(0.7 * grip.force)
    assert grip.slip()[0] < 3e-4
    pull(1.3 * grip.force)
    slipped = grip.slip()[0]
    assert slipped > 2e-3
    pull(0.0)
    assert abs(grip.slip()[0] - slipped) < 5e-4
    assert "slipped" in usb.reset(ResetRequest("robot")).reason
    usb.backend.command_gripper(0.0)
    pull(0.0)
    assert not grip.holds and grip.slip()[0] > 0.03, "let go, it falls"


def test_a_socket_that_moved_and_starts_that_do_not_exist(usb: SimCell) -> None:
    usb.reset(ResetRequest(seed=1, initial_state="socket/0.003,-0.002"))
    assert usb.privileged()["object/socket/pose"][:2] == pytest.approx([0.603, -0.002])
    usb.world.shift(("socket", "contacts"), (0.004, 0.0, 0.0))
    assert usb.privileged()["object/socket/pose"][0] == pytest.approx(0.607), "in the middle of an episode"
    for wrong in ("socket/0.5,0", "socket/nan,0", "normal/n0"):
        with pytest.raises(ApprenticeError):
            usb.reset(ResetRequest(seed=1, initial_state=wrong))
    with pytest.raises(ConfigError, match="unknown; known"):
        find_connector("scart")


def test_contacts_wear_with_matings_and_ask_to_be_replaced() -> None:
    connector = PRESETS["usb"]
    friction = [connector.worn_friction(n) for n in (0, 500, 1500, 100_000)]
    assert friction[0] == connector.spring_friction and all(a > b for a, b in itertools.pairwise(friction))
    assert friction[-1] == pytest.approx(0.6 * friction[0])
    task = load_task("insert_usb")
    worn = InsertionScene(task.model_copy(update={"scene_options": {"cycles": REPLACE_CYCLES, "wear": 1.0}}))
    assert worn.worn and not InsertionScene(task).worn
    springs = [next(b for b in s.place("", 1) if b.name == "contacts") for s in (worn, InsertionScene(task))]
    assert springs[0].friction < 0.8 * springs[1].friction


def test_a_goal_image_is_taken_with_the_plug_in_and_a_mirror_draws_the_same() -> None:
    cell = SimCell("sawyer_insertion", "insert_usb", drive_resets=False)
    assert cell.reset(ResetRequest(seed=1), cell.world.scene.tool_goal).ok  # type: ignore[union-attr]
    goal = cell.observe()["camera/side"]
    assert goal.shape == (64, 64, 3) and cell.observe()[CONNECTED].tolist() == [1.0]
    mirror = World.mirror(cell.world.description())
    mirror.apply_snapshot(*cell.world.snapshot())
    assert np.array_equal(Renderer(mirror, {"side": cell.cell.cameras["side"]}).render("side"), goal)
    mirror.close()
    cell.reset(ResetRequest(seed=1))
    assert np.abs(cell.observe()["camera/side"].astype(int) - goal).mean() > 2
    cell.close()


def test_the_presets_differ_as_they_should() -> None:
    usb, dsub, model_e = (PRESETS[n] for n in ("usb", "dsub", "model_e"))
    assert usb.clearance > dsub.clearance > model_e.clearance and usb.push_force < dsub.push_force < model_e.push_force
    assert len(model_e.posts) == 2, "it has a key"
