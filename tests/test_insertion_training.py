"""Residual learning over the nodes: the trainer is a process of its own, and a kill -9 of it loses no transition (spec 001c X11, X17)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from apprentice_core.bundle import read_manifest
from apprentice_core.paths import share_dir
from apprentice_learning.checkpoint import checkpoints
from apprentice_store.store import Store
from apprentice_workflows.insertion.curve import Curve
from apprentice_workflows.insertion.methods import method
from apprentice_workflows.insertion.nodes import NodeRun, launch_arguments, newest_bundle, trainer
from apprentice_workflows.insertion.rig import Rig
from apprentice_workflows.insertion.settings import settings
from apprentice_workflows.launch_files.parser import parse_launch
from apprentice_workflows.launch_files.plan import format_value

pytestmark = pytest.mark.timeout(150)
STEPS = 6


def wait_for_steps(folder: Path, steps: int, learning, seconds: float = 60.0) -> Path:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert learning.poll() is None, (folder / "trainer.log").read_text()[-2000:]
        found = checkpoints(folder / "bundles")
        if found and read_manifest(found[-1]).lineage["env_steps"] >= steps:
            return found[-1]
        time.sleep(0.1)
    raise AssertionError(f"no bundle of {steps} steps within {seconds} s")


def test_a_killed_trainer_loses_nothing_and_bundles_change_between_episodes(processes, ros, tmp_path: Path) -> None:
    rig, chosen = Rig("usb", tmp_path), method("residual_sparse_sac")
    s = settings("tiny").model_copy(update={"steps": 1000, "warmup": 2 * STEPS})
    folder = processes.data
    (folder / "episodes").mkdir(parents=True, exist_ok=True)
    arguments = launch_arguments(rig, chosen, 0, folder)
    for node in parse_launch(share_dir() / "launch" / "insertion.launch.xml", arguments).nodes:
        processes.start(node.executable, node.name, **{k: format_value(v) for k, v in node.parameters})
    cell = ros()
    base_hash = NodeRun.base_hash_of(rig, chosen)
    with Store(folder / "episodes") as store:
        with trainer(rig, chosen, s, 0, folder, base_hash) as learning:
            run = NodeRun(rig, chosen, 0, Curve(store, folder, 20), base_hash, cell, steps=STEPS)
            run.episode(newest_bundle(folder, learning))
            first = wait_for_steps(folder, STEPS, learning)
            os.kill(learning.pid, signal.SIGKILL)
            learning.wait(10)
            run.episode(first)  # the cell goes on without a trainer
        with trainer(rig, chosen, s, 0, folder, base_hash) as learning:
            bundle = wait_for_steps(folder, 2 * STEPS, learning)
            run.episode(bundle)
            bundle = wait_for_steps(folder, 3 * STEPS, learning)
            told = read_manifest(bundle).lineage
            assert (told["episodes"], told["env_steps"], told["base_hash"]) == (3, 3 * STEPS, base_hash)
            assert told["updates"] == STEPS, "one update a step after the warm-up's two episodes, none of them twice"
        rows = store.episodes("kind = 'episode'")
        assert [r.steps for r in rows] == [STEPS] * 3 and all(r.lost == 0 for r in rows)
        bundles = [store.read(r.episode_id, ()).meta["bundle_id"] for r in rows]
    assert len(set(bundles)) == 3, "each episode names the bundle that it was acted with"
