"""A reward model live in a cell of processes: what it says is recorded, and is what relabelling says of the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_learning.rewards.bundles import write_reward
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_learning.rewards.relabel import relabel
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.rewards.sketch_reward import SketchReward
from apprentice_store.bag_reader import read_episode
from apprentice_store.predictions import Predictions
from apprentice_store.store import Store
from apprentice_store.typestore import typestore

pytestmark = pytest.mark.timeout(120)
TASK = "lift_demo"
CAMERAS = ("basket_front_left", "wrist_left")


def bundle(folder: Path, cameras: tuple[str, ...] = CAMERAS) -> str:
    cell, task = load_cell("sawyer_lift"), load_task(TASK)
    spec = make_cell_spec(load_robot(cell.robot), cell, task, cameras)
    config = RewardTrainConfig(task=TASK, preset="small", cameras=tuple(f"camera/{c}" for c in cameras), proprio=task.proprio)
    torch.manual_seed(0)
    members = [RewardNetwork(spec.observation, config.network()) for _ in range(2)]
    write_reward(folder / "model", members, name="m", task=TASK, config={}, lineage={})
    return str(folder / "model")


def start(processes, path: str) -> None:
    common = {"pace": processes.pace, "task": processes.task}
    processes.start("reward_node", "sketch_reward", **common, source="sketch", bundle=path)


def test_live_rewards_are_those_of_relabelling(processes, ros, tmp_path) -> None:
    path = bundle(tmp_path)
    start(processes, path)
    processes.start_cell(cameras=CAMERAS, episode_node={"reward_sources": "[scripted, sketch]"})
    ref = ros().run(EpisodeRequest(TASK, "lift_expert", ResetRequest("full", seed=3), end_on_success=True, steps=12))
    assert ref.steps == 12 and ref.lost == 0 and not ref.success, "a reward model never claims success"
    episode = read_episode(Path(ref.path))
    live = episode.rewards[f"sketch/{TASK}"]
    assert np.isfinite(live).all() and np.isfinite(episode.rewards["scripted/shaped"]).all()
    assert relabel(processes.data, TASK, Path(path), where=f"id = '{ref.episode_id}'").episodes == 1
    with Store(processes.data) as store:
        known = Predictions(store)
        said = known.read(known.of(TASK, known.models(TASK)[0])[ref.episode_id])
    # The node scores one frame at a time, relabelling many: convolutions then add up in another order.
    assert said.shape == (13, 2) and np.abs(said[:, 0] - said[:, 1]).min() > 1e-3, "an ensemble, whose mean is the reward"
    np.testing.assert_allclose(live, said[:-1].mean(1), atol=1e-5)
    np.testing.assert_allclose(episode.rewards[f"sketch/{TASK}_spread"], said[:-1].std(1), atol=1e-5)
    with AnyReader([Path(ref.path)], default_typestore=typestore()) as reader:
        sent = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages() if c.topic.endswith("reward/sketch")]
    assert len(sent) >= 12 and {m.model_id for m in sent} == {SketchReward(path).model_id}
    assert all(len(m.values) == len(m.probabilities) == len(m.names) for m in sent)
    assert processes.stop("sketch_reward") == 0


def test_a_model_of_another_camera_set_is_refused_by_name(processes, tmp_path) -> None:
    start(processes, bundle(tmp_path, (*CAMERAS, "wrist_right")))
    processes.start("arm_node", cell=processes.cell, task=processes.task, cameras="none", pace="lockstep", state_folder=tmp_path / "state")
    node = processes.nodes["sketch_reward"]
    assert node.wait(60.0) == 2
    assert "camera/basket_front_left: the reward model reads" in node.text
