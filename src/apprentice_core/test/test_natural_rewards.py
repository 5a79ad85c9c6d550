"""Spec 001c checklist B8, B9, B11, B12, B24: the rewards that need no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apprentice_core.errors import ConfigError
from apprentice_core.images import encode_png, to_gray32
from apprentice_core.reward import RewardBatch, RewardResult, RewardSource
from apprentice_core.rewards import DenseReward, ElectricalReward, GoalImageReward, capture_goal_image, load_goal_image
from apprentice_core.rotations import quaternion_from_rpy

GOAL = np.array([0.6, 0.0, 0.07])
DOWN = quaternion_from_rpy(np.pi, 0.0, 0.0)


def batch(goal: np.ndarray | None = GOAL, **after: Any) -> RewardBatch:
    arrays = {k.replace("__", "/"): np.asarray(v, dtype=np.uint8 if k.startswith("camera") else np.float32) for k, v in after.items()}
    n = len(next(iter(arrays.values())))
    goals = {} if goal is None else {"position": np.tile(goal.astype(np.float32), (n, 1))}
    return RewardBatch({}, np.zeros((n, 3), np.float32), arrays, np.arange(n), np.arange(n), goal=goals)


def state(offset: tuple[float, float, float], up: float = 0.0, connected: float = 0.0) -> dict[str, Any]:
    # The tool points down: what pushes it up reads as negative z in the sensor's frame.
    return {
        "tool__pose": [[*(GOAL + np.array(offset)), *DOWN]], "wrist__wrench": [[0, 0, -up, 0, 0, 0]],
        "connection__connected": [[connected]],
    }


def dense(reward: DenseReward, **after: Any) -> dict[str, RewardResult]:
    return reward.compute_reward(batch(**after))


def value(reward: DenseReward, **after: Any) -> float:
    return float(dense(reward, **after)["dense"].value[0])


def test_the_dense_reward_is_equation_48() -> None:
    reward = DenseReward(np.eye(3))
    offset = (0.01, -0.02, 0.02)
    expected = -100 * 0.05 + 0.002 / (0.03 + 1e-3) - 0.1 * 5.0
    assert value(reward, **state(offset, up=5.0)) == pytest.approx(expected, abs=1e-4)
    printed = DenseReward(np.eye(3), beta_sign=-1)
    assert value(printed, **state(offset, up=5.0)) == pytest.approx(expected - 2 * 0.002 / 0.031, abs=1e-4)
    near, far = state((0, 0, 0.001)), state((0, 0, 0.004))
    assert value(reward, **near) - value(reward, **far) > value(printed, **near) - value(printed, **far)
    terms = dense(reward, **state(offset, up=5.0))
    assert float(terms["distance"].value[0] + terms["near"].value[0] + terms["press"].value[0]) == pytest.approx(expected, abs=1e-4)


def test_pressing_is_punished_before_insertion_and_rewarded_after() -> None:
    by_distance, by_signal = DenseReward(np.eye(3)), DenseReward(np.eye(3), inserted_by="connection")

    def press(reward: DenseReward, height: float, connected: float) -> float:
        return float(dense(reward, **state((0, 0, height), 8.0, connected))["press"].value[0])

    assert press(by_distance, 0.0025, 1.0) == pytest.approx(-0.8) and press(by_distance, 0.0015, 0.0) == pytest.approx(0.8)
    assert press(by_signal, 0.0015, 0.0) == pytest.approx(-0.8) and press(by_signal, 0.0025, 1.0) == pytest.approx(0.8)
    assert dense(by_signal, **state((0, 0, 0.0), connected=1.0))["dense"].success[0]
    assert not dense(by_distance, **state((0, 0, 0.0)))["dense"].success[0], "a distance to the commanded goal proves nothing"


def test_a_state_that_is_not_finite_is_not_valid() -> None:
    found = dense(DenseReward(np.eye(3)), **state((0, 0, float("nan"))))["dense"]
    assert not found.valid[0] and np.isfinite(found.value[0])
    with pytest.raises(KeyError, match="position"):
        DenseReward(np.eye(3)).compute_reward(batch(goal=None, **state((0, 0, 0))))
    for wrong in ({"beta_sign": 2}, {"inserted_by": "luck"}, {"eps": 0.0}):
        with pytest.raises(ValueError, match="beta_sign"):
            DenseReward(np.eye(3), **wrong)  # type: ignore[arg-type]


def test_the_goal_is_the_segment_s() -> None:
    shifted = batch(goal=GOAL + np.array([0.001, 0, 0]), **state((0.001, 0, 0)))
    assert float(DenseReward(np.eye(3)).compute_reward(shifted)["distance"].value[0]) == pytest.approx(0.0, abs=1e-5)


def test_the_electrical_reward_is_the_signal_itself() -> None:
    found = ElectricalReward().compute_reward(batch(connection__connected=[[0], [1], [0.5], [float("nan")]]))["sparse"]
    np.testing.assert_array_equal(found.value, np.float32([0, 1, 0, 0]))
    np.testing.assert_array_equal(found.valid, [True, True, False, False])
    np.testing.assert_array_equal(found.success, [False, True, False, False])
    assert not found.terminal.any()
    with pytest.raises(KeyError, match="connected"):
        ElectricalReward().compute_reward(batch(tool__pose=np.zeros((1, 7))))


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def test_the_image_reward_is_largest_at_the_goal_frame(frames: np.ndarray, tmp_path: Path) -> None:
    capture_goal_image(frames[3], "side", tmp_path / "usb" / "goal.png")
    reward = GoalImageReward(load_goal_image(tmp_path / "usb" / "goal.png"))
    values = reward.compute_reward(batch(camera__side=frames))["image"].value
    assert values[3] == 0.0 and (np.delete(values, 3) < -0.1).all()
    black, white = np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 64, 64, 3), 255, np.uint8)
    other = GoalImageReward(capture_goal_image(black[0], "side", tmp_path / "black.png"))
    assert other.compute_reward(batch(camera__side=white))["image"].value[0] == pytest.approx(-10.0)
    assert reward.model_id != other.model_id
    assert all(isinstance(r, RewardSource) for r in (reward, ElectricalReward(), DenseReward(np.eye(3))))


def test_the_picture_is_the_policy_s(frames: np.ndarray) -> None:
    gray = to_gray32(frames)
    assert gray.shape == (6, 32, 32) and gray.dtype == np.float32
    block = frames[0, 2:4, 4:6].astype(int).sum(axis=(0, 1))
    assert gray[0, 1, 2] == pytest.approx(((block + 2) // 4).mean() / 255)
    np.testing.assert_array_equal(to_gray32(frames[2]), gray[2])
    for wrong in (frames[:, :60, :60], frames.astype(np.float32), frames[:, :, :32]):
        with pytest.raises(ValueError, match="32"):
            to_gray32(wrong)


def test_a_goal_image_that_was_changed_is_refused(frames: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "goal.png"
    with pytest.raises(ConfigError, match="capture"):
        load_goal_image(path)
    capture_goal_image(frames[0], "side", path)
    path.write_bytes(encode_png(frames[1]))
    with pytest.raises(ConfigError, match="hash"):
        load_goal_image(path)
    path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="no goal image"):
        load_goal_image(path)
    note = path.with_suffix(".json")
    capture_goal_image(frames[0], "side", path)
    note.write_text(json.dumps({**json.loads(note.read_text()), "pipeline": "area"}))
    with pytest.raises(ConfigError, match="pipeline"):
        load_goal_image(path)
    note.write_text("[1]")
    with pytest.raises(ConfigError, match="no goal image"):
        load_goal_image(path)
