"""The policy learner: demonstrations and own episodes in the online loop, all rewards by the model of the day (spec 000 lines 80, 86)."""

from __future__ import annotations

from pathlib import Path

from apprentice_core.cell import CellSpec
from apprentice_learning.online.journal import StoreJournal
from apprentice_learning.online.loop import BUNDLES, OnlineTrainer
from apprentice_learning.online.train import online_specs
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.reward_learner import load_model, newest_model
from apprentice_workflows.insertion.interactive.rig import DEMOS, LEARNED_FROM
from apprentice_workflows.insertion.interactive.settings import InteractiveSettings


def policy_folder(out: Path) -> Path:
    return out / "policy"


def bundles_folder(out: Path) -> Path:
    return policy_folder(out) / BUNDLES


def make_trainer(store: Store, out: Path, spec: CellSpec, s: InteractiveSettings, seed: int) -> OnlineTrainer:
    """Resumed where there is a checkpoint. The demonstrations are the journal's first episodes, and so the warm-up and the first updates;
    beside that they are a quarter of every batch. ApprenticeError before the first reward model."""
    trainer = OnlineTrainer(
        s.online(seed), online_specs(spec, {}), spec.action_space, StoreJournal(store, LEARNED_FROM), policy_folder(out),
        StoreJournal(store, DEMOS), control_period=spec.timing.control_period, reward_model=load_model(store.folder),
    )
    trainer.resume(lambda model_id: load_model(store.folder, model_id))
    return trainer


def take_newest_reward(trainer: OnlineTrainer, store: Store) -> bool:
    """Puts the newest reward model in the place of the trainer's; whether there was another."""
    newest = newest_model(store.folder)
    if newest is None or newest.name == trainer.replay.model_id:
        return False
    trainer.use_reward(load_model(store.folder, newest.name))
    return True
