"""Steps F and G of the wheel on the nodes: a recurrent agent's bundle in policy_node, cut off in mid-step and taken up again."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from apprentice_core.bundle import bundle_id, read_manifest
from apprentice_core.cell_factory import make_cell_spec
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.paths import config_path
from apprentice_learning.bundles import write_policy
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import RecurrentPolicy
from apprentice_learning.rewards.bundles import write_reward
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.run import run_step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TASK, CAMERAS, PROPRIO = "lift_green", ("basket_front_left", "wrist_left"), ("tool/pose", "joints/position")


def trained(out: Path) -> tuple[Path, Path]:
    """(agent, reward model) that say something, learned nothing: what steps D and E would have left."""
    cell, task = load_cell("sawyer_lift"), load_task(TASK)
    spec = make_cell_spec(load_robot(cell.robot), cell, task, CAMERAS)
    torch.manual_seed(0)
    specs = tuple(a for a in spec.observation if a.name in PROPRIO)
    policy = RecurrentPolicy(specs, spec.action_space.size, NetworkConfig(proprio=PROPRIO, hidden=(32, 32))).eval()
    space = spec.action_space
    write_policy(out / "agent", policy, name="agent", algorithm="d4pg", action_space=space.name, action_space_hash=space.hash)
    config = RewardTrainConfig(task=TASK, preset="small", cameras=tuple(f"camera/{c}" for c in CAMERAS), proprio=task.proprio)
    members = [RewardNetwork(spec.observation, config.network()) for _ in range(2)]
    write_reward(out / "model", members, name="m", task=TASK, config={}, lineage={})
    return out / "agent", out / "model"


def prepared(folder: Path) -> tuple[str, Path]:
    """(wheel config, folder of a wheel whose turn 1 stands before step F)."""
    fields = yaml.safe_load(config_path("wheels", TASK).read_text())
    fields["evaluation_sets"] = ["normal"]
    fields["presets"] = {"test": fields["presets"]["tiny"] | {
        "episode_steps": 10, "trial_episodes": 2, "agent_episodes": 1, "delusions": 1, "evaluation_repeats": 1, "exploration_noise": 0.2,
    }}
    wheel = folder / f"{TASK}.yaml"
    wheel.write_text(yaml.safe_dump(fields))
    out = folder / "run"
    agent, model = trained(out)
    context = WheelContext.open(str(wheel), "test", out)
    agent_id, model_id = (bundle_id(read_manifest(b)) for b in (agent, model))
    context.state.run(1, "B", {}, lambda: {
        "episodes": 0, "steps": 1, "hours": 0.0, "on_task_episodes": 0, "manifest": "", "revision": 0,
    })
    context.state.run(1, "D", {}, lambda: {
        "bundle": "model", "id": model_id, "metrics": {}, "sketches": 0, "episodes": 0, "sketch_ids": [], "revision": 0,
    })
    lineage = {"manifest": "", "reward_model": model_id}
    facts = {"name": "agent", "bundle": "agent", "id": agent_id, "seed": 0, "step": 0, "metrics": {}, "score": None, "lineage": lineage}
    context.state.run(1, "E", {}, lambda: {"relabel": {}, "agents": [facts]})
    context.close()
    return str(wheel), out


def locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_f_and_g_on_the_nodes_go_on_after_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, out = prepared(tmp_path)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.SystemRandom().randint(50, 100)))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    command = [sys.executable, "-m", "apprentice_workflows", "wheel", wheel, "-p", "test", "-o", str(out), "--nodes", "--only", "F"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log, env=os.environ.copy())
    deadline = time.monotonic() + 240
    # The first trial is in the store (after its reset), the second runs.
    while len(list((out / "episodes").glob("0*[!n]"))) < 3 or not list((out / "episodes").glob("*.open")):
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    (lock,) = (out / "episodes").glob(".recorder.*.lock")
    assert not locked(lock), "the nodes have ended with it"

    context = WheelContext.open(wheel, "test", out, nodes=True)
    try:
        assert run_step(context, 1, "F") and run_step(context, 1, "G") and not run_step(context, 1, "F")
        rows = {kind: context.store.episodes(f"tag = '{context.tag(1, 'F', kind)}' and kind = 'episode' and reason != 'torn'")
                for kind in ("trial", "agent")}
        assert [sorted(r.seed or 0 for r in rows[kind]) for kind in rows] == [[800_000, 800_001], [900_000]], "each start once"
        agent = read_manifest(out / "agent")
        for kind, found in rows.items():
            for row in found:
                episode = context.store.read(row.episode_id, PROPRIO)
                assert row.bundle_id == bundle_id(agent) and len(episode) == 10 and row.lost == 0
                noise = float(np.abs(episode.actions["noise"]).max())
                assert (noise > 0.01) == (kind == "agent"), "a trial is judged without exploration"
        done = context.state.outputs(1, "F")
        assert done["episodes"]["episodes"] == 1 and len(done["delusions"]) == 1 and done["chosen"]["name"] == "agent"
        assert context.state.outputs(1, "G")["sets"] == {"normal": {"successes": 0, "episodes": 1}}
        (judged,) = context.store.episodes("tag = 'evaluate' and kind = 'episode'")
        assert (judged.initial_state, judged.seed, judged.bundle_id) == ("normal", 1_000_000, bundle_id(agent))
    finally:
        context.close()
    assert json.loads((out / "state.json").read_text())["steps"]["1/G"]["outputs"]["policy"] == "agent"
