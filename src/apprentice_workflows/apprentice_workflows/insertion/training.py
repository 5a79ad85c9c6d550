"""Trains one method on one connector: episodes into a store, updates between them, bundles out. Killed, it goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.cell import EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.insertion import saturation
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.online.journal import StoreJournal
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.online.practise import NewestPolicy, practise
from apprentice_learning.online.train import online_specs
from apprentice_sim.sim_cell import SimCell
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_workflows.insertion.goals import Goal
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import BASE, CAMERA, DRIVER, POLICY, REWARDS, Rig
from apprentice_workflows.insertion.settings import InsertionSettings

INTERVENTIONS = "interventions.jsonl"
DEMO, TRAIN, EVALUATE = "demo", "train", "evaluate"
TRAINING = f"kind = 'episode' and tag = '{TRAIN}'"
DEMONSTRATIONS = f"kind = 'episode' and tag = '{DEMO}' and success = true"
"""resets carry the tags of their episode, and are nobody's task"""
SEEDS = 1_000_000
"""width of the range of start seeds that a training seed has to itself; evaluation has the range before the first (ours)"""
Told = Callable[[int, int, str], None]
"""(steps done, steps in all, note)"""


def online_config(method: Method, s: InsertionSettings, seed: int) -> OnlineConfig:
    """config/online/<learner>.yaml with the inputs and the reward of the method's setting."""
    name = method.learner if method.learner == "td3_demos" else f"{method.learner}_residual"
    config = load_online_config(name)
    fields: dict[str, Any] = config.model_dump(mode="json")
    fields |= {"name": method.name, "seed": seed, "steps": s.steps, "warmup": s.warmup, "reward": REWARDS[method.setting], "device": "cpu"}
    if method.setting == "images":
        fields["batch"] = s.image_batch
        if fields["prior_batch"]:
            fields["prior_batch"] = max(1, s.image_batch // 8)  # the share that 128 is of 1024
            fields["learner"]["settings"]["cloning_weight"] = 1.0 / fields["prior_batch"]
        fields["network"] |= {
            "cameras": [f"camera/{CAMERA}"], "proprio": [], "encoder": "gray32", "image_reduction": 2,
            "hidden": [s.image_width, s.image_width],
        }
    return OnlineConfig.model_validate(fields)


class Curve:
    """What each training episode came to, a line of curve.jsonl each; with it, the run knows when it has solved the task."""

    def __init__(self, path: Path, cell: SimCell, solved: int):
        self.path, self.cell, self.solved = path, cell, solved
        self.rows: list[dict[str, Any]] = []

    def resume(self, episodes: int) -> None:
        """Keeps the lines of the episodes that the trainer has taken up."""
        if self.path.is_file():
            self.rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()][:episodes]
        self.path.write_text("".join(json.dumps(r) + "\n" for r in self.rows), encoding="utf-8")

    def add(self, ref: EpisodeRef, steps: int, actions: np.ndarray) -> None:
        poses = self.cell.privileged()
        error = poses["object/plug/pose"][:3] - poses["object/socket/pose"][:3]
        row = {
            "env_steps": steps, "success": ref.success, "distance": round(float(np.linalg.norm(error)), 6), "reason": ref.reason,
            "saturated": saturation(actions),
        }
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    @property
    def is_solved(self) -> bool:
        last = self.rows[-self.solved :]
        return len(last) == self.solved and all(r["success"] for r in last)

    def steps_to_solve(self) -> int | None:
        """Environment steps when the run of successes was complete (B33); None where it never was."""
        for end in range(self.solved, len(self.rows) + 1):
            if all(r["success"] for r in self.rows[end - self.solved : end]):
                return int(self.rows[end - 1]["env_steps"])
        return None


def demonstrate(rig: Rig, method: Method, s: InsertionSettings, store: Store, seed: int) -> None:
    """`s.demonstrations` successful demonstrations by the scripted operator, an unhurried P-controller that knows the goal (spec 001c B16:
    a person with a joystick records into the same store, over the nodes)."""
    have = len(store.episodes(DEMONSTRATIONS))
    if have >= s.demonstrations:
        return
    cell = rig.open(method.setting, seed, BagSink(store))
    try:
        for n in range(10 * s.demonstrations):
            metadata = Goal(rig.goal).metadata()
            start = ResetRequest(seed=start_seed(seed, SEEDS // 2 + n))
            ref = cell.run(EpisodeRequest(rig.task.name, BASE, start, metadata=metadata, tags=(DEMO,)))
            have += ref.success
            if have >= s.demonstrations:
                break
    finally:
        cell.close()


def start_seed(seed: int, n: int) -> int:
    """Of episode `n` of a training seed; no two training seeds and no evaluation share one."""
    return SEEDS * (1 + seed) + n


def train(rig: Rig, method: Method, s: InsertionSettings, seed: int, folder: Path, tell: Told) -> dict[str, Any]:
    """Trains in `folder` (episodes/, checkpoints/, bundles/, metrics.jsonl, curve.jsonl); returns what it came to. On Ctrl-C a checkpoint
    holds where it was and KeyboardInterrupt follows."""
    config = online_config(method, s, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "episodes") as store:
        if config.prior_batch:
            demonstrate(rig, method, s, store, seed)
        cell = rig.open(method.setting, seed, BagSink(store), base=method.base)
        try:
            return _practise(rig, cell, store, config, s, seed, folder, tell)
        finally:
            cell.close()


def _practise(
    rig: Rig, cell: SimCell, store: Store, config: OnlineConfig, s: InsertionSettings, seed: int, folder: Path, tell: Told
) -> dict[str, Any]:
    base_hash = cell.sources[BASE].base_hash  # type: ignore[attr-defined]
    prior = StoreJournal(store, DEMONSTRATIONS) if config.prior_batch else None
    trainer = OnlineTrainer(
        config, online_specs(cell.spec, {"position": 3}), cell.spec.action_space, StoreJournal(store, TRAINING), folder, prior,
        base_hash, cell.spec.timing.control_period,
    )
    trainer.resume()
    curve = Curve(folder / "curve.jsonl", cell, s.solved)
    curve.resume(trainer.episodes)
    cell.sources[POLICY] = NewestPolicy(folder / "bundles", cell.spec.action_space, POLICY)

    def request(n: int, acting: dict[str, Any]) -> EpisodeRequest:
        metadata = {**Goal(rig.goal).metadata(), **acting, "base_hash": base_hash, "seed": seed, "connector": rig.connector}
        return EpisodeRequest(rig.task.name, DRIVER, ResetRequest(seed=start_seed(seed, n)), metadata=metadata, tags=(TRAIN,))

    def after(ref: EpisodeRef) -> None:
        if not ref.episode_id:
            # A reset that needed a person: in simulation the next one puts the plug back, and it counts as an intervention (X13).
            with (folder / INTERVENTIONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"env_steps": trainer.steps, "reason": ref.reason}) + "\n")
            tell(min(trainer.steps, config.steps), config.steps, ref.reason)
            return
        episode = store.read(ref.episode_id, ())
        curve.add(ref, trainer.steps, np.clip(episode.actions["residual"] + episode.actions["noise"], -1, 1))
        recent = curve.rows[-s.solved :]
        tell(min(trainer.steps, config.steps), config.steps, f"{sum(r['success'] for r in recent)}/{len(recent)} of the last episodes")
        if curve.is_solved:
            trainer.stop()

    # A run that was solved before its steps were over stays as it is.
    result = trainer.result(trainer.export()) if curve.is_solved else practise(trainer, cell, request, after)
    if result.stopped and not curve.is_solved:
        raise KeyboardInterrupt
    rows, needed = curve.rows, folder / INTERVENTIONS
    return {
        "interventions": len(needed.read_text(encoding="utf-8").splitlines()) if needed.is_file() else 0,
        "bundle": str(result.bundle), "bundle_id": result.bundle_id, "base_hash": base_hash, "env_steps": trainer.steps,
        "updates": trainer.updates, "episodes": trainer.episodes, "steps_to_solve": curve.steps_to_solve(),
        "train_wall_s": round(result.wall_s, 1), "saturated": float(np.mean([r["saturated"] for r in rows[-s.solved :]])),
    }
