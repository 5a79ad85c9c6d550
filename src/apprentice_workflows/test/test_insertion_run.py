"""A method cell from demonstrations and training to its result, as small as it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apprentice_core.cell import OPERATOR_NEEDED, EpisodeRequest, ResetRequest
from apprentice_core.reward import RewardBatch
from apprentice_core.rewards import GoalImageReward, load_goal_image
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_workflows.insertion.attended import Attended
from apprentice_workflows.insertion.curve import Curve
from apprentice_workflows.insertion.goals import Goal
from apprentice_workflows.insertion.methods import method
from apprentice_workflows.insertion.rig import BASE, Rig
from apprentice_workflows.insertion.run import RESULT, cell_folder, run_cell
from apprentice_workflows.insertion.settings import PRESETS, InsertionSettings
from apprentice_workflows.insertion.training import first_learned_step, online_config

SMALL = InsertionSettings(steps=60, warmup=40, executions=1, demonstrations=1, image_batch=8, image_width=16)


def run(out: Path, name: str) -> dict[str, Any]:
    return run_cell(out, "usb", method(name), SMALL, 0, lambda *_: None)


def test_demonstrations_train_and_are_judged(tmp_path: Path) -> None:
    result = run(tmp_path, "demos_sparse")
    folder = cell_folder(tmp_path, "usb", method("demos_sparse"), 0)
    with Store(folder / "episodes") as store:
        tags = [store.episodes(f"tag = '{t}'") for t in ("demo", "train", "evaluate")]
        told = [[store.read(r.episode_id, ()).meta["metadata"] for r in rows] for rows in tags[1:]]
        demonstration = store.read(tags[0][0].episode_id, ("connection/connected",))
    connected = demonstration.observations["connection/connected"][1:, 0]
    assert demonstration.rewards["electrical/sparse"].tobytes() == connected.tobytes() and connected[-1] == 1.0
    assert [len(t) for t in tags] == [1, 2, 2] and tags[0][0].success
    assert all(t["goal"]["position"] == t["goal_true"] for t in told[0]), "trained on perfect goals"
    assert sum(t["goal"]["position"] != t["goal_true"] for t in told[1]) == 1, "judged on one of each"
    assert result["perfect"]["trials"] == result["noisy"]["trials"] == 1 and result["env_steps"] == 100 and result["updates"] == 50
    assert Path(result["bundle"]).is_dir() and len((folder / "curve.jsonl").read_text().splitlines()) == 2
    before = (folder / RESULT).stat().st_mtime_ns
    assert run(tmp_path, "demos_sparse") == json.loads((folder / RESULT).read_text()) and (folder / RESULT).stat().st_mtime_ns == before


def test_images_are_all_that_a_visual_policy_and_its_reward_see(tmp_path: Path) -> None:
    result = run(tmp_path, "residual_images_sac")
    goal = load_goal_image(tmp_path / "goal_usb.png")
    assert goal.camera == "side" and goal.gray.shape == (32, 32)
    folder = cell_folder(tmp_path, "usb", method("residual_images_sac"), 0)
    with Store(folder / "episodes") as store:
        episode = store.read(store.episodes("tag = 'train'")[0].episode_id)
    rewards = episode.rewards["goal_image/image"]
    assert (rewards <= 0).all() and rewards.max() > rewards[0], "the picture of a plug that is nearly in is nearer to the goal's"
    now, after = ({"camera/side": episode.observations["camera/side"][part]} for part in (slice(None, -1), slice(1, None)))
    counts = np.arange(len(episode)), np.full(len(episode), len(episode))
    again = GoalImageReward(goal).compute_reward(RewardBatch(now, episode.actions["executed"], after, *counts))["image"].value
    assert again.tobytes() == rewards.astype(np.float32).tobytes(), "the bag gives the same rewards to the bit (X8)"
    told = json.loads((Path(result["bundle"]) / "bundle.json").read_text())
    assert [a["name"] for a in told["observation"]] == ["camera/side"]


def test_resets_that_needed_a_person_are_counted(tmp_path: Path) -> None:
    with Store(tmp_path / "episodes") as store:
        curve = Curve(store, tmp_path, 20)
        assert curve.summary()["interventions"] == 0
        for reason in ("operator needed: the plug is lost", "operator needed: the plug is jammed"):
            curve.intervention(reason)
        assert Curve(store, tmp_path, 20).summary()["interventions"] == 2, "also after an interruption"


def test_successes_before_the_policy_learned_do_not_count_as_solved(tmp_path: Path) -> None:
    td3, sac = (first_learned_step(online_config(method(f"residual_sparse_{a}"), PRESETS["small"], 0)) for a in ("td3", "sac"))
    assert (td3, sac) == (2000, 1000), "1,000 steps of warm-up, and 1,000 updates of TD3's critics alone"
    with Store(tmp_path / "episodes") as store:
        curve = Curve(store, tmp_path, 3, since=100)
        for steps, success in ((50, True), (100, True), (150, True), (200, True)):
            curve.rows.append({"env_steps": steps, "learned": steps - 50 >= 100, "success": success, "saturated": 0.0})
        assert curve.steps_to_solve() is None, "two of the last three began before"
        curve.rows += [{"env_steps": 250, "learned": True, "success": True, "saturated": 0.0}]
        assert curve.steps_to_solve() == 250
        curve.rows += [{"env_steps": 300, "learned": True, "success": False, "saturated": 0.0}]
        assert curve.summary()["steps_to_solve"] == 250


@pytest.mark.parametrize("name", ["p_controller"])
def test_the_base_alone_needs_no_training(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name)
    assert "bundle" not in result and result["perfect"]["successes"] == 1 and max(result["perfect"]["distance_mm"]) < 2.0


def test_a_jam_costs_a_persons_help_and_no_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, told = Rig("usb", tmp_path), []
    with Store(tmp_path / "episodes") as store:
        cell = rig.open("sparse", 0, BagSink(store))
        try:
            attended = Attended(cell, told.append)
            request = EpisodeRequest(rig.task.name, BASE, ResetRequest(seed=0), steps=20, metadata=Goal(rig.goal).metadata())
            assert attended.run(request).episode_id and not told
            monkeypatch.setattr(cell._home, "patience", 1)
            ref = attended.run(request)
        finally:
            cell.close()
        assert len(told) == 1 and OPERATOR_NEEDED in told[0]
        assert store.read(ref.episode_id, ()).meta["reset_mode"] == "operator"
