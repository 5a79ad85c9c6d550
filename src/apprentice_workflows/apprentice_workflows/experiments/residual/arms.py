"""One arm of an experiment: what learns, on which base, in which world. Its runs are cached by seed, so that a long comparison is cut into
resumable pieces and arms that two experiments share are run once."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_control.base import ControllerSource, PolicyController, make_controller
from apprentice_core.cell import ActionSource, Controller, EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_core.config import TaskConfig, load_task
from apprentice_core.insertion import tool_spread
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.online.journal import MemoryJournal
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.online.practise import NewestPolicy, practise
from apprentice_learning.online.train import online_specs
from apprentice_learning.runner import PolicyRunner
from apprentice_sim.sim_cell import SimCell

REWARD = "scripted/assembly"
BASE, POLICY = "base", "policy"
TRAINING_SEEDS, EVALUATION_SEED = 1_000_000, 700_000
"""ranges of start seeds that never meet: a training seed's own, and that of all evaluations (ours)"""


@dataclass(frozen=True)
class World:
    """Where an arm learns and is judged. `start`: of the scene, '' or 'discrete'; `mean`, `sigma`, `axes`: control noise on the summed
    command (eq. 46), for every method alike."""

    rotation: float = 0.0
    start: str = ""
    mean: float = 0.0
    sigma: float = 0.0
    axes: str = "all"
    cell: str = "sawyer_assembly"
    task_name: str = "assemble_blocks"

    @property
    def task(self) -> TaskConfig:
        task = load_task(self.task_name)
        return task.model_copy(update={"scene_options": {**task.scene_options, "rotation": self.rotation}})

    @property
    def metadata(self) -> dict[str, Any]:
        if not self.mean and not self.sigma:
            return {}
        return {"disturbance": {"mean": self.mean, "sigma": self.sigma, "axes": self.axes}}


@dataclass(frozen=True)
class Arm:
    """`learner` '': the base alone (A11). `base` null_controller: learning alone (A10). `initial` and `policy_base` name runs whose
    weights start the residual (A21) or whose policy is the base (A20)."""

    name: str
    world: World
    learner: str = "td3"
    base: str = "hand_controller"
    steps: int = 8000
    initial: str = ""
    policy_base: str = ""

    def key(self, seed: int) -> str:
        """Identifies a run by all that decides it."""
        text = json.dumps([asdict(self), seed], sort_keys=True)
        return f"{self.name.replace(' ', '_')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}-seed{seed}"


@dataclass(frozen=True)
class Earlier:
    """What a run of another arm left: a checkpoint and a bundle."""

    checkpoint: Path | None = None
    bundle: Path | None = None


NONE = Earlier()


def config_of(arm: Arm, seed: int) -> OnlineConfig:
    fields = load_online_config(f"{arm.learner}_assembly").model_dump(mode="json")
    fields |= {"name": arm.name.replace(" ", "_"), "steps": arm.steps, "seed": seed, "device": "cpu"}
    return OnlineConfig.model_validate(fields)


def open_cell(arm: Arm, seed: int, journal: MemoryJournal, earlier: Earlier) -> SimCell:
    cell = SimCell(arm.world.cell, arm.world.task, seed, cameras=False, sink=journal)
    space = cell.spec.action_space
    controller: Controller
    if arm.policy_base and earlier.bundle:
        controller = PolicyController(PolicyRunner(earlier.bundle, space, allow_tracked=_from_truth(cell)))
    else:
        controller = make_controller(arm.base, cell.profile, space.dimensions[0].high)
    cell.sources[BASE] = ControllerSource(controller, space)
    return cell


def run_arm(
    arm: Arm, seed: int, folder: Path, evaluations: int, tell: Callable[[int, int, str], None], earlier: Earlier = NONE
) -> dict[str, Any]:
    """Trains and judges one arm with one seed; the result is written to `folder`/<key>.json, and read from there the next time.

    {curve: [[env_steps, return, success], ...], returns: of the `evaluations` noiseless episodes, successes, spread, samples_per_s,
    bundle, checkpoint}. Interrupted, the run of this seed begins anew: it is minutes.
    """
    path = folder / f"{arm.key(seed)}.json"
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    journal = MemoryJournal()
    cell = open_cell(arm, seed, journal, earlier)
    try:
        out = _learn(arm, cell, journal, seed, folder / arm.key(seed), tell, earlier) if arm.learner else {"curve": []}
        out |= judge(arm, cell, journal, evaluations, Path(out["bundle"]) if "bundle" in out else None)
    finally:
        cell.close()
    out["arm"], out["seed"] = asdict(arm), seed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out) + "\n", encoding="utf-8")
    return out


def _learn(
    arm: Arm, cell: SimCell, journal: MemoryJournal, seed: int, folder: Path, tell: Callable[[int, int, str], None], earlier: Earlier
) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    base_hash, goal = cell.sources[BASE].base_hash, goal_of(cell)  # type: ignore[attr-defined]
    specs = online_specs(cell.spec, {"position": 3}, tracked=True)
    trainer = OnlineTrainer(config_of(arm, seed), specs, cell.spec.action_space, journal, folder, base_hash=base_hash)
    if arm.initial and earlier.checkpoint:
        trainer.initialise(earlier.checkpoint)
    cell.sources[POLICY] = NewestPolicy(folder / "bundles", cell.spec.action_space, POLICY, allow_tracked=_from_truth(cell))
    curve: list[list[float]] = []

    def request(n: int, acting: dict[str, Any]) -> EpisodeRequest:
        metadata = {**goal, **arm.world.metadata, **acting, "base_hash": base_hash}
        start = ResetRequest(seed=TRAINING_SEEDS * (1 + seed) + n, initial_state=arm.world.start)
        return EpisodeRequest(arm.world.task_name, f"{BASE}+{POLICY}", start, metadata=metadata)

    def after(ref: EpisodeRef) -> None:
        curve.append([trainer.steps, _return(journal), float(ref.success)])
        if len(curve) % 10 == 0:
            tell(min(trainer.steps, arm.steps), arm.steps, f"return {np.mean([c[1] for c in curve[-10:]]):.2f}")

    began = time.monotonic()
    result = practise(trainer, cell, request, after)
    if result.stopped:
        raise KeyboardInterrupt
    episodes = [e.episode for e in journal.entries if e.episode is not None]
    return {
        "curve": curve, "spread": tool_spread(episodes), "samples_per_s": trainer.steps / (time.monotonic() - began),
        "bundle": str(result.bundle), "checkpoint": str(sorted((folder / "checkpoints").iterdir())[-1]), "updates": trainer.updates,
    }


def judge(arm: Arm, cell: SimCell, journal: MemoryJournal, n: int, bundle: Path | None) -> dict[str, Any]:
    """`n` episodes without exploration, on starts that no training uses; the control noise of the arm's world acts as in training."""
    source = BASE
    if bundle is not None:
        policy: ActionSource = PolicyRunner(bundle, cell.spec.action_space, name=POLICY, allow_tracked=_from_truth(cell))
        cell.sources[POLICY], source = policy, f"{BASE}+{POLICY}"
    returns, successes = [], 0
    for i in range(n):
        start = ResetRequest(seed=EVALUATION_SEED + i, initial_state=arm.world.start)
        ref = cell.run(EpisodeRequest(arm.world.task_name, source, start, metadata={**goal_of(cell), **arm.world.metadata}))
        successes += ref.success
        returns.append(_return(journal))
    return {"returns": returns, "successes": successes, "trials": n}


def _from_truth(cell: SimCell) -> bool:
    """Whether policies get the poses of the blocks from the simulation, and not from a tracker."""
    return cell.cell.poses == "privileged"


def goal_of(cell: SimCell) -> dict[str, Any]:
    """Metadata that name the goal of the scene."""
    return {"goal": {"position": [float(v) for v in cell.world.scene.tool_goal]}}  # type: ignore[union-attr]


def _return(journal: MemoryJournal) -> float:
    episode = journal.entries[-1].episode
    return float("nan") if episode is None else float(np.nansum(episode.rewards[REWARD]))
