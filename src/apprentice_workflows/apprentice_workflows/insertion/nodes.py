"""The same training on the nodes of insertion.launch.xml: the cell's processes act and record, the trainer is a process of its own."""

from __future__ import annotations

import json
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
from apprentice_core.insertion import final_distance, saturation
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.practise import acting_of
from apprentice_store.store import Store
from apprentice_workflows.cells import CellChoice, load_policy
from apprentice_workflows.children import end_child, start_child
from apprentice_workflows.demo.cell_process import CellProcess, answering_cell
from apprentice_workflows.insertion.goals import Goal
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import CAMERA, CELL, Rig
from apprentice_workflows.insertion.settings import InsertionSettings
from apprentice_workflows.insertion.training import INTERVENTIONS, TRAIN, TRAINING, Told, online_config, start_seed

FAILED_EPISODES = 5
NAMESPACE = "cell"
RESIDUAL = "residual"


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
        run = NodeRun(rig, method, seed, folder, base_hash, cell, store)
        while run.steps < s.steps and not run.solved(s.solved):
            process.check()
            run.episode(newest_bundle(folder, learning))
            tell(min(run.steps, s.steps), s.steps, f"{sum(run.wins[-s.solved :])}/{len(run.wins[-s.solved :])} of the last episodes")
    bundle = checkpoints(folder / "bundles")[-1]
    return {
        "bundle": str(bundle), "bundle_id": bundle_id(read_manifest(bundle)), "base_hash": base_hash, "env_steps": run.steps,
        "episodes": len(run.wins), "interventions": run.failed, "nodes": True,
    }


class NodeRun:
    """The actor's side: one episode after another, what it came to in curve.jsonl, and when a person had to help in interventions.jsonl.
    `steps` an episode, 0: the task's horizon."""

    def __init__(self, rig: Rig, method: Method, seed: int, folder: Path, base_hash: str, cell: Cell, store: Store, steps: int = 0):
        self.rig, self.method, self.seed, self.folder, self.base_hash = rig, method, seed, folder, base_hash
        self.length = steps
        self.cell, self.store = cell, store
        rows = store.episodes(TRAINING)
        self.steps, self.wins, self.failed = sum(r.steps for r in rows), [bool(r.success) for r in rows], 0
        self._loaded: Path | None = None

    @staticmethod
    def base_hash_of(rig: Rig, method: Method) -> str:
        """Of the base controller as the node makes it from the same configs."""
        cell = load_cell(CELL)
        robot = load_robot(cell.robot)
        space = policy_action_space(effective_limits(robot, cell, rig.task), rig.task)
        return make_controller(method.base, robot, float(space.dimensions[0].high)).version_hash

    def solved(self, row: int) -> bool:
        return len(self.wins) >= row and all(self.wins[-row:])

    def episode(self, bundle: Path) -> None:
        """ApprenticeError when episode after episode cannot be run."""
        if bundle != self._loaded:
            load_policy(self.cell, bundle)
            self._loaded = bundle
        metadata = {
            **Goal(self.rig.goal).metadata(), **acting_of(bundle), "base_hash": self.base_hash, "seed": self.seed,
            "connector": self.rig.connector,
        }
        start = ResetRequest(seed=start_seed(self.seed, len(self.wins) + self.failed))
        ref = self.cell.run(EpisodeRequest(
            self.rig.task.name, f"{self.method.base}+{RESIDUAL}", start, steps=self.length, metadata=metadata, tags=(TRAIN,)
        ))
        if not ref.episode_id:
            self.failed += 1
            self._tell(INTERVENTIONS, {"env_steps": self.steps, "reason": ref.reason})
            if self.failed >= FAILED_EPISODES:
                raise ApprenticeError(f"{self.failed} episodes could not be run; the last: {ref.reason}")
            return
        self.steps, self.wins = self.steps + ref.steps, [*self.wins, ref.success]
        episode = self.store.read(ref.episode_id, ())
        self._tell("curve.jsonl", {
            "env_steps": self.steps, "success": ref.success, "distance": round(final_distance(episode), 6), "reason": ref.reason,
            "saturated": saturation(episode.actions["residual"] + episode.actions["noise"]),
            "bundle_id": episode.meta.get("bundle_id", ""),
        })

    def _tell(self, file: str, row: dict[str, Any]) -> None:
        with (self.folder / file).open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def newest_bundle(folder: Path, learning: subprocess.Popen[bytes]) -> Path:
    """Waits for the first, which the trainer exports before it learns anything; ApprenticeError when the trainer has ended."""
    while True:
        if learning.poll() is not None:
            raise ApprenticeError(f"the trainer has ended (exit {learning.returncode}); its log is {folder / 'trainer.log'}")
        if found := checkpoints(folder / "bundles"):
            return found[-1]
        time.sleep(0.2)
