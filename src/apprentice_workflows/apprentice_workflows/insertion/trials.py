"""The executions by which a trained method is judged (spec 001c section 3.5): perfect goals, and goals off by a millimetre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_core.insertion import errors, final_distance, reward_hacks, saturation
from apprentice_core.statistics import wilson
from apprentice_learning.runner import PolicyRunner
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_workflows.insertion.attended import Attended
from apprentice_workflows.insertion.goals import NoiseTarget, Point, executions
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.rig import BASE, DRIVER, POLICY, REWARDS, VERIFIED, Rig
from apprentice_workflows.insertion.training import EVALUATE, Told

CONDITIONS = ("perfect", "noisy")
START_SEED = 0
"""the first of the start seeds of evaluation; every training seed has a range of its own above it (ours)"""


def socket_start(target: NoiseTarget, offset: Point) -> str:
    """Where noise moves the part instead of the command, the scene's start says by how much."""
    return f"socket/{offset[0]:g},{offset[1]:g}" if target == "socket" and any(offset) else ""


def run_trials(
    rig: Rig, method: Method, bundle: Path | None, n: int, folder: Path, seed: int, tell: Told, target: NoiseTarget = "command"
) -> dict[str, dict[str, Any]]:
    """`n` executions a condition of the bundle (None: the base controller alone), deterministic, recorded into the store at
    `folder`/episodes; what is recorded already is not run again. Starts and perturbations are the same for every method and seed."""
    with Store(folder / "episodes") as store:
        cell = rig.open(method.setting, seed, BagSink(store), base=method.base)
        if bundle is not None:
            cell.sources[POLICY] = PolicyRunner(bundle, cell.spec.action_space, name=POLICY)
        driver = DRIVER if bundle is not None else BASE
        attended = Attended(cell, lambda reason: None)
        goal, out = rig.goal, {}
        try:
            for condition in CONDITIONS:
                tag, goals = f"{EVALUATE}/{condition}", executions(goal, n, condition == "noisy", START_SEED, target)
                done = len(store.episodes(f"kind = 'episode' and tag = '{tag}'"))
                for i, g in enumerate(goals[done:], done):
                    start = ResetRequest(seed=START_SEED + i, initial_state=socket_start(target, g.offset))
                    ref = attended.run(EpisodeRequest(rig.task.name, driver, start, metadata=g.metadata(), tags=(EVALUATE, tag)))
                    if not ref.episode_id:
                        raise ApprenticeError(f"execution {i + 1} with a {condition} goal could not be run: {ref.reason}")
                    tell(i + 1, n, condition)
                out[condition] = summarise(store, tag, method)
        finally:
            cell.close()
    return out


def summarise(store: Store, tag: str, method: Method) -> dict[str, Any]:
    """What the recorded executions of a condition came to."""
    episodes = [store.read(row.episode_id) for row in store.episodes(f"kind = 'episode' and tag = '{tag}'")]
    successes = sum(bool(e.rewards[VERIFIED][-1] == 1) for e in episodes)
    low, high = wilson(successes, len(episodes))
    actions = np.concatenate([np.clip(e.actions["residual"] + e.actions["noise"], -1, 1) for e in episodes])
    hacks = reward_hacks(episodes, REWARDS["images"]) if method.setting == "images" else []
    return {
        "successes": successes, "trials": len(episodes), "low": low, "high": high,
        "distance_mm": [round(1000 * final_distance(e), 3) for e in episodes],
        "lateral_mm": [round(1000 * float(np.linalg.norm(errors(e)[-1, :2])), 3) for e in episodes],
        "saturated": saturation(actions), "reward_hacks": len(hacks),
        "interventions": sum(e.meta["reset_mode"] == "operator" for e in episodes), "episode_ids": [e.episode_id for e in episodes],
    }
