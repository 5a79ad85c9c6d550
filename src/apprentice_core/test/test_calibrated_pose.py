"""The pose of a plug that is in, and the labels that it gives (spec 001c C2)."""

from pathlib import Path

import numpy as np
import pytest

from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.reward import RewardBatch
from apprentice_core.rewards import CalibratedReward, calibrate, load_calibrated_pose

AT = np.array([0.6, -0.02, 0.11])


def held(n: int = 12, moved: float = 1e-4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.hstack([AT + rng.uniform(-moved, moved, (n, 3)), np.tile([0.0, 1.0, 0.0, 0.0], (n, 1))])


def judged(reward: CalibratedReward, offsets: list[tuple[float, float, float]]) -> tuple[list[bool], list[bool]]:
    after = np.hstack([AT + np.array(offsets), np.tile([0.0, 1.0, 0.0, 0.0], (len(offsets), 1))]).astype(np.float32)
    n = len(after)
    batch = RewardBatch({}, np.zeros((n, 3), np.float32), {"tool/pose": after}, np.arange(n), np.full(n, n))
    given = reward.compute_reward(batch)["sparse"]
    assert np.array_equal(given.value == 1.0, given.success) and not given.terminal.any()
    return given.success.tolist(), given.valid.tolist()


def test_what_is_stored_is_read_back_and_labels_by_depth_and_side(tmp_path: Path) -> None:
    stored = calibrate(held(), "usb", "sawyer", "01ABC")
    (tmp_path / "usb.json").write_text(stored.model_dump_json())
    pose = load_calibrated_pose(tmp_path / "usb.json")
    assert pose == stored and np.allclose(pose.position, AT, atol=1e-4) and pose.samples == 12 and pose.episode_id == "01ABC"
    success, valid = judged(CalibratedReward(pose), [
        (0, 0, 0), (0, 0, 0.0015), (0.0015, -0.0015, -0.001), (0, 0, 0.003), (0.003, 0, 0), (0, -0.003, 0), (np.nan, 0, 0),
    ])
    assert success == [True, True, True, False, False, False, False] and valid == [True] * 6 + [False]


@pytest.mark.parametrize(("poses", "match"), [
    (held(9), "at least 10"), (held(moved=1e-3), "moved"), (np.where(np.arange(7) == 2, np.nan, held()), "finite"),
])
def test_a_calibration_that_tells_nothing_is_refused(poses: np.ndarray, match: str) -> None:
    with pytest.raises(ApprenticeError, match=match):
        calibrate(poses, "usb", "sawyer")


@pytest.mark.parametrize(("text", "match"), [
    ("{}", "connector"), ("[1]", "usb.json"), ('{"connector": "usb"', "usb.json"), ("!!python/object:os.system {}", "usb.json"),
])
def test_a_torn_or_foreign_file_is_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "usb.json").write_text(text)
    with pytest.raises(ConfigError, match=match):
        load_calibrated_pose(tmp_path / "usb.json")
    with pytest.raises(ConfigError, match="apprentice calibrate"):
        load_calibrated_pose(tmp_path / "none.json")
    good = calibrate(held(), "usb", "sawyer")
    (tmp_path / "good.json").write_text(good.model_dump_json().replace(str(good.position[2]), ".nan"))
    with pytest.raises(ConfigError, match="position"):
        load_calibrated_pose(tmp_path / "good.json")
