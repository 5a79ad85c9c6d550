"""Trains one method on one connector: episodes into a store, updates between them, bundles out. Killed, it goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apprentice_core.cell import EpisodeRef, EpisodeRequest, ResetRequest
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.online.journal import StoreJournal
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.online.practise import NewestPolicy, practise
from apprentice_learning.online.train import online_specs
from apprentice_sim.sim_cell import SimCell
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_workflows.insertion.attended import Attended
from apprentice_workflows.insertion.curve import TRAIN, TRAINING, Curve
from apprentice_workflows.insertion.goals import Goal
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import BASE, CAMERA, DRIVER, POLICY, REWARDS, Rig
from apprentice_workflows.insertion.settings import InsertionSettings

DEMO, EVALUATE = "demo", "evaluate"
DEMONSTRATIONS = f"kind = 'episode' and tag = '{DEMO}' and success = true"
DENSE_SCALE = 0.1
"""of eq. 48's rewards, which are some 5 a step (ours): as they are, 4,000 updates are too few for critics of returns in the hundreds, and
SAC's temperature is nothing beside them"""
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
    if method.setting == "dense":
        fields["reward_scale"] = DENSE_SCALE
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


def first_learned_step(config: OnlineConfig) -> int:
    """Control step from which the policy is another than at the start: after the warm-up, and the updates that are the critics' alone."""
    settings = config.learner.settings
    return config.warmup + math.ceil(getattr(settings, "critic_only_updates", 0) / config.updates_per_step)


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
    curve = Curve(store, folder, s.solved, first_learned_step(config))
    before = trainer.steps
    cell.sources[POLICY] = NewestPolicy(folder / "bundles", cell.spec.action_space, POLICY)

    def request(n: int, acting: dict[str, Any]) -> EpisodeRequest:
        metadata = {**Goal(rig.goal).metadata(), **acting, "base_hash": base_hash, "seed": seed, "connector": rig.connector}
        return EpisodeRequest(rig.task.name, DRIVER, ResetRequest(seed=start_seed(seed, n)), metadata=metadata, tags=(TRAIN,))

    def after(ref: EpisodeRef) -> None:
        if ref.episode_id:
            curve.add(ref.episode_id)
        tell(min(curve.steps, config.steps), config.steps, curve.recent if ref.episode_id else ref.reason)

    result = practise(trainer, Attended(cell, curve.intervention), request, after)
    if result.stopped:
        raise KeyboardInterrupt
    taken = trainer.steps - before
    return {
        **curve.summary(), "bundle": str(result.bundle), "bundle_id": result.bundle_id, "base_hash": base_hash, "updates": trainer.updates,
        # Of this call alone: what ran before an interruption was timed by nobody.
        "timed_steps": taken, "train_wall_s": round(result.wall_s, 1), "samples_per_s": round(taken / result.wall_s, 2) if taken else None,
    }
