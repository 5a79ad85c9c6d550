"""`apprentice insertion-interactive`: bootstrap, the loop as processes or in turn, evaluation, and the curve."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from apprentice_core.bundle import bundle_id, read_manifest
from apprentice_core.errors import ApprenticeError
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.practise import NewestPolicy
from apprentice_store.store import Store
from apprentice_workflows.children import end_child, start_child
from apprentice_workflows.experiments.result import commit
from apprentice_workflows.insertion.interactive.alternate import alternate, describe, is_over
from apprentice_workflows.insertion.interactive.annotating import Annotator
from apprentice_workflows.insertion.interactive.curve import read_curve, write_curve
from apprentice_workflows.insertion.interactive.learner import bundles_folder, policy_folder
from apprentice_workflows.insertion.interactive.reward_learner import Tell, newest_model
from apprentice_workflows.insertion.interactive.rig import (
    EVALUATE,
    EVALUATION_SEED,
    POLICY,
    demonstrate,
    open_cell,
    request,
    seed_of,
)
from apprentice_workflows.insertion.interactive.run_folder import RunFolder
from apprentice_workflows.insertion.interactive.settings import InteractiveSettings
from apprentice_workflows.repairing import repair_what_is_torn
from apprentice_workflows.wheel.context import SCRIPTED
from apprentice_workflows.wheel.studio_client import StudioClient, local_studio

METRICS = "metrics.jsonl"
LOOK = 1.0
"""s between two looks at how far the parts are (ours)"""


def run_interactive(
    run: RunFolder, tell: Tell, in_turn: bool = False, annotator: str = SCRIPTED, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The whole of a run, from where it was; returns the result, which is written in every case.

    `in_turn`: everything in this process, decided by the seed. Otherwise actor, policy learner, reward learner and (unless a person of the
    name `annotator` draws at the printed address) the scripted annotator are processes beside Studio.
    """
    if in_turn and annotator != SCRIPTED:
        raise ApprenticeError("a person cannot sketch in a run whose parts take turns; leave --in-turn out")
    s, began = run.settings, time.monotonic()
    with run.held(), Store(run.data) as store:
        repair_what_is_torn(store)
        try:
            demonstrate(store, s, run.seed, tell)
            with local_studio(store) as url:
                run.tell_studio(url)
                if in_turn:
                    with StudioClient(url, SCRIPTED) as studio:
                        alternate(store, run.out, s, run.seed, Annotator(store, studio, s), tell)
                else:
                    say(f"Studio: {url}/ (task insert_usb_interactive; first the demonstrations, then what the policy does)")
                    _beside_each_other(run, store, s, annotator, tell)
            evaluate(store, run, tell)
        finally:
            curve = read_curve(store, s.window)
            models = len(list(newest.parent.iterdir())) if (newest := newest_model(store.folder)) else 0
            facts = {
                "preset": run.preset, "seed": run.seed, "in_turn": in_turn, "annotator": annotator, "settings": s.model_dump(mode="json"),
                "reward_models": models, "commit": commit(), "wall_s": round(time.monotonic() - began, 1),
            }
            write_curve(run.out, curve, **facts)
    return {**facts, **curve}


def _beside_each_other(run: RunFolder, store: Store, s: InteractiveSettings, annotator: str, tell: Tell) -> None:
    roles = ["reward", "policy", "actor"] + (["annotator"] if annotator == SCRIPTED else [])
    if is_over(read_curve(store, s.window), s):
        return
    with ExitStack() as stack:
        log = stack.enter_context((run.out / "roles.log").open("ab"))
        children = stack.enter_context(_children(run, roles, log))
        while True:
            for role, child in children.items():
                if child.poll() is not None:
                    raise ApprenticeError(f"the {role} has ended (exit {child.returncode}); {run.out / 'roles.log'} says why")
            curve = read_curve(store, s.window)
            tell("sketches", min(curve["sketches"], s.demonstrations), s.demonstrations, "")
            if learned := _episodes_learned_from(run):
                tell("policy learner, demonstrations", min(learned, s.demonstrations), s.demonstrations, "")
            if curve["episodes"]:
                tell("practice", min(curve["episodes"], s.episodes), s.episodes, describe(curve))
            if is_over(curve, s):
                return
            time.sleep(LOOK)


def _episodes_learned_from(run: RunFolder) -> int:
    """The policy learner writes a line an episode."""
    metrics = policy_folder(run.out) / METRICS
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


@contextmanager
def _children(run: RunFolder, roles: list[str], log: BinaryIO) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Ended together, each given time to leave a checkpoint."""
    module, children = "apprentice_workflows.insertion.interactive.roles", {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        for role in roles:
            command = [sys.executable, "-m", module, role, "--out", str(run.out)]
            children[role] = start_child(command, stdout=log, stderr=log, env=environment)
        yield children
    finally:
        for child in children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for child in children.values():
            end_child(child)


def evaluate(store: Store, run: RunFolder, tell: Tell) -> None:
    """Executions of the newest policy without exploration, from the same starts for every run; what this policy has done is not run
    again."""
    s, found = run.settings, checkpoints(bundles_folder(run.out))
    if not found:
        return
    newest = bundle_id(read_manifest(found[-1]))
    done = sum(r.bundle_id == newest for r in store.episodes(f"tag = '{EVALUATE}'"))
    if done >= s.evaluations:
        return
    cell = open_cell(store, run.seed)
    try:
        cell.sources[POLICY] = NewestPolicy(bundles_folder(run.out), cell.spec.action_space, POLICY)
        for n in range(done, s.evaluations):
            cell.run(request(s, seed_of(run.seed, EVALUATION_SEED, n), POLICY, EVALUATE))
            tell("evaluation", n + 1, s.evaluations, "")
    finally:
        cell.close()
