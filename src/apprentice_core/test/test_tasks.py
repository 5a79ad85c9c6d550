"""Golden values of the task rewards."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_core.config import load_task
from apprentice_core.errors import ConfigError
from apprentice_core.reward import RewardBatch, RewardSource
from apprentice_core.tasks import ClothTask, LiftTask, PickPlaceTask, ScriptedReward, StackTask, TaskState, make_task


def _poses(name: str, positions: list[list[float]], speed: float = 0.0) -> dict[str, np.ndarray]:
    n = len(positions)
    pose = np.concatenate([np.array(positions), np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))], axis=1).astype(np.float32)
    twist = np.zeros((n, 6), dtype=np.float32)
    twist[:, 0] = speed
    return {f"object/{name}/pose": pose, f"object/{name}/twist": twist}


def _tool(positions: list[list[float]]) -> dict[str, np.ndarray]:
    return {"tool/pose": np.concatenate([np.array(positions), np.tile([0.0, 1.0, 0.0, 0.0], (len(positions), 1))], axis=1)}


def test_lift_golden_values() -> None:
    task = make_task(load_task("lift"))
    assert isinstance(task, LiftTask)
    first = _poses("green", [[0.6, 0.0, 0.02]] * 4)
    now = _poses("green", [[0.6, 0.0, 0.02], [0.6, 0.0, 0.045], [0.6, 0.0, 0.0699], [0.6, 0.0, 0.0701]])
    tool = _tool([[0.6, 0.0, 0.12], [0.6, 0.0, 0.045], [0.6, 0.0, 0.0699], [0.6, 0.0, 0.0701]])
    state = TaskState(tool, now, first)
    assert task.success(state).tolist() == [False, False, False, True]
    assert task.sparse(state).tolist() == [0.0, 0.0, 0.0, 1.0]
    # 0.4 (1 - tanh 1) = 0.09536; 0.4 + 0.5 * 0.5; 0.4 + 0.5 * 0.998; success
    np.testing.assert_allclose(task.shaped(state), [0.095362, 0.65, 0.899, 1.0], atol=1e-4)


def test_lift_needs_stillness() -> None:
    task = make_task(load_task("lift"))
    first = _poses("green", [[0.6, 0.0, 0.02]])
    for speed, good in ((0.05, True), (0.07, False)):
        state = TaskState(_tool([[0.6, 0.0, 0.1]]), _poses("green", [[0.6, 0.0, 0.1]], speed), first)
        assert bool(task.success(state)[0]) is good


def test_pick_place_golden_values() -> None:
    task = make_task(load_task("pick_place"))
    assert isinstance(task, PickPlaceTask)
    first = _poses("object", [[0.3, 0.05, 0.02]] * 4)
    now = _poses("object", [[0.3, 0.05, 0.02], [0.3, -0.085, 0.10], [0.3, -0.085, 0.025], [0.3, -0.085, 0.025]])
    tool = _tool([[0.3, 0.05, 0.02], [0.3, -0.085, 0.10], [0.3, -0.085, 0.03], [0.3, -0.085, 0.10]])
    state = TaskState(tool, now, first)
    # on the tray in hand; held above the container; inside but not let go; let go
    assert task.success(state).tolist() == [False, False, False, True]
    np.testing.assert_allclose(task.shaped(state)[[0, 1, 3]], [0.3, 0.9, 1.0], atol=1e-4)


def test_stacking_needs_the_block_on_top_and_let_go() -> None:
    task = make_task(load_task("stack_green_on_red"))
    assert isinstance(task, StackTask) and task.objects == ("green", "red")
    red, n = _poses("red", [[0.6, 0.0, 0.025]] * 6), 6
    # beside it on the floor; held over it; on it, held; on it, let go; too far aside; on it, but both are held up
    green = [[0.7, 0.0, 0.021], [0.6, 0.0, 0.12], [0.6, 0.0, 0.071], [0.6, 0.0, 0.071], [0.63, 0.0, 0.071], [0.6, 0.0, 0.121]]
    red["object/red/pose"][5, 2] += 0.05
    first = _poses("red", [[0.6, 0.0, 0.025]] * n) | _poses("green", [[0.7, 0.0, 0.021]] * n)
    tool = _tool([[0.7, 0.0, 0.12], [0.6, 0.0, 0.12], [0.6, 0.0, 0.07], [0.6, 0.0, 0.14], [0.6, 0.0, 0.14], [0.6, 0.0, 0.18]])
    state = TaskState(tool, red | _poses("green", green), first)
    assert task.success(state).tolist() == [False, False, False, True, False, False]
    shaped = task.shaped(state)
    assert shaped[0] < shaped[1] < shaped[2] < shaped[3] == 1.0 and shaped.max() <= 1.0 and shaped[2] == pytest.approx(0.85)
    moving = TaskState(tool, red | _poses("green", green, speed=0.05), first)
    assert not task.success(moving).any()


def test_a_rule_is_chosen_by_name() -> None:
    with pytest.raises(ConfigError, match=r"rule: no task for rule 'juggle'; known: assembly, cloth, insertion, lift, pick_place, stack"):
        make_task(load_task("lift").model_copy(update={"rule": "juggle"}))


def test_scripted_reward_is_a_reward_source() -> None:
    reward = ScriptedReward(make_task(load_task("lift")))
    assert isinstance(reward, RewardSource) and reward.needs_privileged
    n = 2
    batch = RewardBatch(
        {}, np.zeros((n, 7)), _tool([[0.6, 0, 0.1]] * n), np.zeros(n), np.full(n, 80),
        next_privileged=_poses("green", [[0.6, 0, 0.02], [0.6, 0, 0.1]]),
        first_privileged=_poses("green", [[0.6, 0, 0.02]] * n),
    )
    out = reward.compute_reward(batch)
    assert set(out) == {"sparse", "shaped"}
    assert out["sparse"].value.tolist() == [0.0, 1.0] and out["shaped"].success.tolist() == [False, True]
    assert out["sparse"].valid.all() and not out["sparse"].terminal.any() and np.isnan(out["sparse"].probability).all()


def test_unknown_success_field_is_refused() -> None:
    config = load_task("lift").model_copy(update={"success": {"height": 0.1}})
    with pytest.raises(ConfigError, match=r"success\.height"):
        make_task(config)


def test_extends_overrides_and_refuses_loops(tmp_path: object) -> None:
    demo, paper = load_task("lift_demo"), load_task("lift")
    assert (demo.name, demo.horizon, paper.horizon) == ("lift_demo", 80, 200) and demo.starts == paper.starts
    from pathlib import Path

    loop = Path(str(tmp_path)) / "a.yaml"
    loop.write_text("extends: a\nname: a\n")
    with pytest.raises(ConfigError, match="extends itself"):
        load_task(str(loop))


def test_cloth_golden_values() -> None:
    task = make_task(load_task("lift_cloth"))
    assert isinstance(task, ClothTask) and task.objects == ("cloth", "cloth/top")

    def cloth(top: list[float], centre: list[float], speed: float = 0.0) -> dict[str, np.ndarray]:
        at = [_poses(n, [[0.6, 0.0, z] for z in zs], speed) for n, zs in (("cloth/top", top), ("cloth", centre))]
        return {**at[0], **at[1]}

    first = cloth([0.02] * 4, [0.005] * 4)
    # Untouched; a corner plucked; half up; hanging.
    tops, centres = [0.02, 0.11, 0.06, 0.101], [0.005, 0.02, 0.0225, 0.041]
    tool = _tool([[0.6, 0.0, 0.12], *([0.6, 0.0, z] for z in tops[1:])])
    state = TaskState(tool, cloth(tops, centres), first)
    assert task.success(state).tolist() == [False, False, False, True]
    np.testing.assert_allclose(
        task.shaped(state), [0.4 * (1 - np.tanh(1.0)), 0.65 + 0.25 * 0.015 / 0.035, 0.4 + 0.25 * 0.5 + 0.25 * 0.5, 1.0], atol=1e-4
    )
    flung = TaskState(tool, cloth(tops, centres, speed=0.07), first)
    assert not task.success(flung).any() and task.shaped(flung).max() < 0.91
