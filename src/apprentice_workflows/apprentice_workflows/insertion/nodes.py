"""The same training on the nodes of insertion.launch.xml: the cell's processes act and record, the trainer is a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from apprentice_control.base import make_controller
from apprentice_core.bundle import bundle_id, read_manifest
from apprentice_core.cell import Cell, EpisodeRequest, ResetRequest
from apprentice_core.cell_factory import effective_limits, policy_action_space
from apprentice_core.config import load_cell, load_robot
from apprentice_core.errors import ApprenticeError
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.practise import acting_of
from apprentice_store.store import Store
from apprentice_workflows.cells import RESIDUAL, CellChoice, load_policy
from apprentice_workflows.children import end_child, start_child
from apprentice_workflows.demo.cell_process import CellProcess, answering_cell
from apprentice_workflows.insertion.curve import TRAIN, TRAINING, Curve
from apprentice_workflows.insertion.goals import Goal
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import CAMERA, CELL, Rig
from apprentice_workflows.insertion.settings import InsertionSettings
from apprentice_workflows.insertion.training import Told, first_learned_step, online_config, start_seed

FAILED_EPISODES = 5
NAMESPACE = "cell"


@contextmanager
def trainer(rig: Rig, method: Method, s: InsertionSettings, seed: int, folder: Path, base_hash: str) -> Iterator[subprocess.Popen[bytes]]:
    """`apprentice train-online` on the folder's episodes, until the block ends; what it says is in trainer.log."""
    config = folder / "online.yaml"
    config.write_text(yaml.safe_dump(online_config(method, s, seed).model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    words = [
        "train-online", str(config), "--cell", CELL, "--task", rig.task.name, "--data", str(folder / "episodes"), "--out", str(folder),
        "--cameras", "agent" if method.setting == "images" else "none", "--where", TRAINING, "--base-hash", base_hash,
    ]
    with (folder / "trainer.log").open("ab") as log:
        process = start_child([sys.executable, "-m", "apprentice_workflows", *words], stdout=log, stderr=log)
    try:
        yield process
    finally:
        end_child(process)


def launch_arguments(rig: Rig, method: Method, seed: int, folder: Path) -> dict[str, str]:
    """Of insertion.launch.xml; ApprenticeError for what the launch file has no reward for."""
    reward = {"sparse": "electrical", "dense": "dense", "images": "goal_image"}.get(method.setting)
    if reward is None or method.family not in ("residual", "pure"):
        raise ApprenticeError(f"{method.title}: only residual and pure methods are trained over nodes")
    seen = method.setting == "images"
    if seen:
        rig.reward("images")
    return {
        "cell": CELL, "task": rig.task.name, "namespace": NAMESPACE, "data": str((folder / "episodes").resolve()), "seed": str(seed),
        "base": method.base, "reward": reward, "cameras": "agent" if seen else "none", "sim": str(seen).lower(), "camera": CAMERA,
        **({"goal_image": str((rig.folder / f"goal_{rig.connector}.png").resolve())} if seen else {}),
    }


def train_on_nodes(rig: Rig, method: Method, s: InsertionSettings, seed: int, folder: Path, tell: Told) -> dict[str, Any]:
    """Acting goes on while the trainer learns; between two episodes the policy node is given the newest bundle. Interrupted, the same call
    goes on: what was recorded is what was learned from."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = launch_arguments(rig, method, seed, folder)
    base_hash = NodeRun.base_hash_of(rig, method)
    with (
        Store(folder / "episodes") as store,
        CellProcess(arguments, folder / "cell.log", "insertion.launch.xml") as process,
        answering_cell(process, CellChoice(False, rig.task.name, CELL, NAMESPACE)) as cell,
        trainer(rig, method, s, seed, folder, base_hash) as learning,
    ):
        curve = Curve(store, folder, s.solved, first_learned_step(online_config(method, s, seed)))
        run = NodeRun(rig, method, seed, curve, base_hash, cell)
        while run.curve.steps < s.steps:
            process.check()
            run.episode(newest_bundle(folder, learning))
            tell(min(run.curve.steps, s.steps), s.steps, run.curve.recent)
        # It ends by itself once it has learned from all of them; the cell was faster.
        tell(s.steps, s.steps, "the trainer finishes")
        if learning.wait():
            raise ApprenticeError(f"the trainer has failed (exit {learning.returncode}); its log is {folder / 'trainer.log'}")
    bundle = checkpoints(folder / "bundles")[-1]
    return {
        **run.curve.summary(), "bundle": str(bundle), "bundle_id": bundle_id(read_manifest(bundle)), "base_hash": base_hash, "nodes": True,
    }


class NodeRun:
    """The actor's side: one episode after another, each with the bundle that is given. `steps` an episode, 0: the task's horizon."""

    def __init__(self, rig: Rig, method: Method, seed: int, curve: Curve, base_hash: str, cell: Cell, steps: int = 0):
        self.rig, self.method, self.seed, self.curve, self.base_hash = rig, method, seed, curve, base_hash
        self.cell, self.length, self.failed = cell, steps, 0
        self._loaded: Path | None = None

    @staticmethod
    def base_hash_of(rig: Rig, method: Method) -> str:
        """Of the base controller as the node makes it from the same configs."""
        cell = load_cell(CELL)
        robot = load_robot(cell.robot)
        space = policy_action_space(effective_limits(robot, cell, rig.task), rig.task)
        return make_controller(method.base, robot, float(space.dimensions[0].high)).version_hash

    def episode(self, bundle: Path) -> None:
        """ApprenticeError when episode after episode cannot be run, or the supervisor says that the reward is fooled."""
        if alarm := getattr(self.cell, "alarm", ""):
            raise ApprenticeError(f"practice stops: {alarm}; once you have looked, call supervisor/clear and start again")
        if bundle != self._loaded:
            load_policy(self.cell, bundle)
            self._loaded = bundle
        metadata = {
            **Goal(self.rig.goal).metadata(), **acting_of(bundle), "base_hash": self.base_hash, "seed": self.seed,
            "connector": self.rig.connector,
        }
        start = ResetRequest(seed=start_seed(self.seed, len(self.curve.rows) + self.failed))
        ref = self.cell.run(EpisodeRequest(
            self.rig.task.name, f"{self.method.base}+{RESIDUAL}", start, steps=self.length, metadata=metadata, tags=(TRAIN,)
        ))
        if ref.episode_id:
            self.curve.add(ref.episode_id)
            return
        self.failed += 1
        self.curve.intervention(ref.reason)
        if self.failed >= FAILED_EPISODES:
            raise ApprenticeError(f"{self.failed} episodes could not be run; the last: {ref.reason}")


def newest_bundle(folder: Path, learning: subprocess.Popen[bytes]) -> Path:
    """Waits for the first, which the trainer exports before it learns anything; ApprenticeError when the trainer has ended."""
    while True:
        if learning.poll() is not None:
            raise ApprenticeError(f"the trainer has ended (exit {learning.returncode}); its log is {folder / 'trainer.log'}")
        if found := checkpoints(folder / "bundles"):
            return found[-1]
        time.sleep(0.2)
