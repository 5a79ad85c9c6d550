"""The parts as processes: `python -m apprentice_workflows.insertion.interactive.roles ROLE --out RUN`. Each follows the store, keeps
nothing that is not there or in its own checkpoint, and ends on SIGINT."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.run_folder import RunFolder

POLL = 0.5
"""s between two looks for something to do (ours)"""
NEW_SKETCHES = 4
"""demonstrations that the annotator draws before it looks again for own episodes (ours)"""


def act(run: RunFolder, store: Store, stop: threading.Event) -> None:
    """The actor: an episode after the other with the newest policy. It waits until the demonstrations have been learned from: a bundle that
    would act uniformly comes from before that."""
    from apprentice_learning.checkpoint import checkpoints
    from apprentice_learning.online.practise import FAILED_EPISODES, NewestPolicy, acting_of
    from apprentice_workflows.insertion.interactive.learner import bundles_folder
    from apprentice_workflows.insertion.interactive.rig import OWN, POLICY, TRAIN, TRAIN_SEED, open_cell, request, seed_of

    bundles, s = bundles_folder(run.out), run.settings
    cell = open_cell(store, run.seed)
    try:
        cell.sources[POLICY] = NewestPolicy(bundles, cell.spec.action_space, POLICY)
        failed = 0
        while not stop.is_set():
            found = checkpoints(bundles)
            acting = _quietly(lambda found=found: acting_of(found[-1])) if found else None  # type: ignore[misc]
            if acting is None or acting.get("exploration") or len(store.episodes(OWN)) >= s.episodes:
                stop.wait(POLL)
                continue
            asked = request(s, seed_of(run.seed, TRAIN_SEED, len(store.episodes(OWN))), POLICY, TRAIN, acting)
            try:
                ref = cell.run(asked)
                failed, reason = (0, "") if ref.episode_id else (failed + 1, ref.reason)
            except BundleError as error:  # the learner, begun anew, is just writing it
                failed, reason = failed + 1, str(error)
                stop.wait(POLL)
            if failed >= FAILED_EPISODES:
                raise ApprenticeError(f"{failed} episodes in a row could not be run; the last: {reason}")
    finally:
        cell.close()


def _quietly(ask: Callable[[], Any]) -> Any:
    """None where the bundle is removed or replaced at this very moment."""
    try:
        return ask()
    except (BundleError, OSError):
        return None


def learn_policy(run: RunFolder, store: Store, stop: threading.Event) -> None:
    """The policy learner: begins with the first reward model, and takes up each later one before its next look at the store."""
    from apprentice_core.cell_factory import make_cell_spec
    from apprentice_core.config import load_cell, load_robot, load_task
    from apprentice_workflows.insertion.interactive.learner import make_trainer, take_newest_reward
    from apprentice_workflows.insertion.interactive.reward_learner import newest_model
    from apprentice_workflows.insertion.interactive.settings import CELL, TASK

    while newest_model(store.folder) is None:
        if stop.wait(POLL):
            return
    cell, task = load_cell(CELL), load_task(TASK)
    spec = make_cell_spec(load_robot(cell.robot), cell, task, task.cameras)
    trainer = make_trainer(store, run.out, spec, run.settings, run.seed)
    if stop.is_set():
        return
    trainer.follow(POLL, between=lambda: take_newest_reward(trainer, store))


def learn_reward(run: RunFolder, store: Store, stop: threading.Event) -> None:
    """The reward learner: fits and publishes whenever there are sketches enough, whoever drew them."""
    from apprentice_workflows.insertion.interactive.reward_learner import RewardLearner

    learner = RewardLearner(store, run.out, run.settings, run.seed)
    with suppress(KeyboardInterrupt):
        while not stop.wait(POLL):
            if learner.due:
                learner.refit()


def annotate(run: RunFolder, store: Store, stop: threading.Event) -> None:
    """The scripted annotator at the run's Studio."""
    from apprentice_workflows.insertion.interactive.annotating import Annotator
    from apprentice_workflows.wheel.context import SCRIPTED
    from apprentice_workflows.wheel.studio_client import StudioClient

    with StudioClient(run.studio_url, SCRIPTED) as studio:
        annotator = Annotator(store, studio, run.settings)
        while not stop.is_set():
            if not annotator.round(NEW_SKETCHES):
                stop.wait(POLL)


ROLES: dict[str, Callable[[RunFolder, Store, threading.Event], None]] = {
    "actor": act, "policy": learn_policy, "reward": learn_reward, "annotator": annotate,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run = RunFolder.load(given.out)
    try:
        with Store(run.data) as store:
            ROLES[given.role](run, store, stop)
    except ApprenticeError as error:
        raise SystemExit(f"{given.role}: {error}") from None


if __name__ == "__main__":
    main()
