"""The same parts in one process and in turn: what happens follows from the seed alone, for experiments and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apprentice_core.cell import EpisodeRef, EpisodeRequest
from apprentice_learning.online.practise import NewestPolicy, practise
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.annotating import Annotator
from apprentice_workflows.insertion.interactive.curve import read_curve
from apprentice_workflows.insertion.interactive.learner import bundles_folder, make_trainer, take_newest_reward
from apprentice_workflows.insertion.interactive.reward_learner import RewardLearner, Tell
from apprentice_workflows.insertion.interactive.rig import OWN, POLICY, TRAIN, TRAIN_SEED, open_cell, request, seed_of
from apprentice_workflows.insertion.interactive.settings import InteractiveSettings


def is_over(curve: dict[str, Any], s: InteractiveSettings) -> bool:
    """Enough episodes, or solved."""
    return curve["episodes"] >= s.episodes or (curve["episodes"] >= s.window and curve["rate"] >= s.solved)


def describe(curve: dict[str, Any]) -> str:
    rate = f"{100 * (curve['rate'] or 0):.0f} % of the last {curve['window']}"
    return f"{rate}, {curve['hours']:.2f} h simulated, {curve['sketches']} sketches"


def alternate(store: Store, out: Path, s: InteractiveSettings, seed: int, annotator: Annotator, tell: Tell) -> None:
    """One own episode, its updates, the sketches that are due, a refit when there are enough; until `is_over`. KeyboardInterrupt on Ctrl-C,
    after a checkpoint."""
    rewards = RewardLearner(store, out, s, seed, tell)
    if is_over(read_curve(store, s.window), s):
        return
    annotator.round()
    if rewards.due:
        rewards.refit()
    cell = open_cell(store, seed)
    try:
        trainer = make_trainer(store, out, cell.spec, s, seed)
        take_newest_reward(trainer, store)
        cell.sources[POLICY] = NewestPolicy(bundles_folder(out), cell.spec.action_space, POLICY)
        over = False

        def next_request(_: int, acting: dict[str, Any]) -> EpisodeRequest:
            return request(s, seed_of(seed, TRAIN_SEED, len(store.episodes(OWN))), POLICY, TRAIN, acting)

        def after(ref: EpisodeRef) -> None:
            nonlocal over
            annotator.round()
            curve = read_curve(store, s.window)
            tell("practice", curve["episodes"], s.episodes, describe(curve))
            over = is_over(curve, s)
            if over:
                trainer.stop()
            elif rewards.due:
                rewards.refit()
                take_newest_reward(trainer, store)

        result = practise(trainer, cell, next_request, after)
        if result.stopped and not over:
            raise KeyboardInterrupt
    finally:
        cell.close()
