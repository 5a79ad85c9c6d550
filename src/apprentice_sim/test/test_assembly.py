"""Two-block assembly: the hand controller, rotation of the side blocks, the terms of the reward."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from apprentice_core.cell import ResetRequest, StepResult
from apprentice_core.config import load_task
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.rotations import yaw_of
from apprentice_core.tasks import TaskState, make_task
from apprentice_sim.scenes.assembly import AssemblyScene
from apprentice_sim.sim_cell import SimCell


@pytest.fixture(scope="module")
def blocks() -> Iterator[SimCell]:
    cell = SimCell("sawyer_assembly", "assemble_blocks", cameras=False, drive_resets=False)
    yield cell
    cell.close()


def push_down(cell: SimCell, start: str, seed: int, steps: int = 30) -> StepResult:
    assert cell.reset(ResetRequest("full", start, seed)).ok
    goal = cell.world.scene.tool_goal  # type: ignore[union-attr]
    for _ in range(steps):
        result = cell.step(np.clip((goal - cell.observe()["tool/pose"][:3]) / 0.01, -1.0, 1.0).astype(np.float32))
    return result


def test_straight_blocks_are_assembled_and_turned_ones_are_pushed_over(blocks: SimCell) -> None:
    assert push_down(blocks, "yaw/0.0", 0).info["success"]
    done = [push_down(blocks, "yaw/0.3", seed).info["success"] for seed in range(4)]
    assert sum(done) < 4


def test_the_reward_is_the_sum_of_its_terms(blocks: SimCell) -> None:
    rewards = push_down(blocks, "yaw/0.3", 1).rewards
    terms = [rewards[f"scripted/{name}"] for name in ("geometry", "upright", "in_place")]
    assert rewards["scripted/assembly"] == pytest.approx(sum(terms)) and all(t <= 0 for t in terms)


def test_yaws_are_drawn_as_asked(blocks: SimCell) -> None:
    scene = AssemblyScene(load_task("assemble_blocks"))
    drawn = np.array([scene.yaws("yaw/0.2", seed) for seed in range(200)])
    assert np.abs(drawn).max() < 0.2 and drawn.std(axis=0) == pytest.approx([0.2 / math.sqrt(3)] * 2, rel=0.15)
    assert {round(math.degrees(v)) for seed in range(40) for v in scene.yaws("discrete", seed)} == {0, 20, -20}
    assert scene.yaws("", 3) == (0.0, 0.0)
    blocks.reset(ResetRequest("full", "yaw/0.25", 11))
    left = blocks.privileged()["object/left/pose"]
    assert yaw_of(left[3:]) == pytest.approx(scene.yaws("yaw/0.25", 11)[0], abs=1e-3)
    for wrong in ("yaw/9", "yaw/x", "yaw", "normal/n0"):
        with pytest.raises(ApprenticeError):
            scene.yaws(wrong, 0)
    with pytest.raises(ConfigError, match=r"scene_options\.wind"):
        AssemblyScene(load_task("assemble_blocks").model_copy(update={"scene_options": {"wind": 1.0}}))


def test_fixed_side_blocks_do_not_move() -> None:
    task = load_task("assemble_blocks").model_copy(update={"scene_options": {"fixed": 1.0}})
    cell = SimCell("sawyer_assembly", task, cameras=False, drive_resets=False)
    rewards = push_down(cell, "yaw/0.3", 0).rewards
    assert rewards["scripted/upright"] == pytest.approx(0.0, abs=1e-6) and rewards["scripted/in_place"] == 0.0
    assert rewards["scripted/geometry"] < -0.02, "and the block does not go in"
    cell.close()


def test_success_needs_depth_upright_blocks_and_blocks_in_place() -> None:
    task = make_task(load_task("assemble_blocks"))

    def state(x: float = 0.6, tilt: float = 0.0, moved: float = 0.0) -> TaskState:
        lean = [math.sin(tilt / 2), 0.0, 0.0, math.cos(tilt / 2)]
        right = np.array([[0.6, -0.0415, 0.05, 0, 0, 0, 1]])
        sides = {"object/left/pose": np.array([[0.6, 0.0415 + moved, 0.05, *lean]]), "object/right/pose": right}
        first = {**sides, "object/left/pose": np.array([[0.6, 0.0415, 0.05, 0, 0, 0, 1.0]])}
        return TaskState({}, {**sides, "object/held/pose": np.array([[x, 0.0, 0.05, 0, 0, 0, 1]])}, first)

    assert task.success(state()).all()
    assert not task.success(state(x=0.606)).any()
    assert not task.success(state(tilt=0.2)).any()
    assert not task.success(state(moved=0.011)).any()
    assert task.terms(state(tilt=0.2))["upright"][0] == pytest.approx(-0.2)
    assert task.terms(state(moved=0.01))["in_place"][0] == pytest.approx(-0.01)
    assert task.shaped(state()).tolist() == [1.0]
