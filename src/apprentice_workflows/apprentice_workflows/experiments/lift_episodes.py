"""Episodes of the lift cell for experiments on rewards: good, noisy, failed and random ones, run past their success."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.config import load_task
from apprentice_core.tasks import make_task
from apprentice_core.tasks.task import TaskState
from apprentice_store.store import Store

TASK = "lift"
STEPS = 70
"""control steps of an episode (ours): the expert needs some 40"""
TAG = "reward_experiment"
DRIVERS = {"expert": (0.1, 0.0), "clumsy": (0.4, 0.4)}
"""name: noise in [-1, 1] units, part of episodes that miss on purpose (ours)"""
SHARES = {"expert": 0.4, "clumsy": 0.3, "random_watcher": 0.3}
SUCCESS_SKETCH, LAST_BELOW = 0.95, 0.8
"""what the curve says of a successful frame, and of the best one that is none (ours)"""


def collect(folder: Path, count: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Records what is missing of `count` episodes; each is seeded by its number, so a second call goes on where the first ended."""
    from apprentice_control.scripted.lift_expert import LiftExpert
    from apprentice_core.config import load_robot
    from apprentice_sim.sim_cell import SimCell
    from apprentice_store.bag_sink import BagSink

    task, profile = load_task(TASK), load_robot("sawyer")
    sources = {
        name: LiftExpert(profile, task.target, noise=noise, noise_correlation=0.7, failures=failures, name=name)
        for name, (noise, failures) in DRIVERS.items()
    }
    names = [name for name, share in SHARES.items() for _ in range(round(share * count))][:count]
    with Store(folder) as store:
        have = {r.seed for r in store.episodes(f"tag = '{TAG}'")}
        cell = SimCell("sawyer_lift", task, seed=0, sources=sources, sink=BagSink(store), cameras="agent")
        try:
            for seed, name in enumerate(names):
                if seed not in have:
                    cell.run(EpisodeRequest(TASK, name, ResetRequest("full", seed=seed), steps=STEPS, tags=(TAG,)))
                progress(seed + 1, len(names))
        finally:
            cell.close()


def progress_curve(store: Store, episode_id: str) -> np.ndarray:
    """float32 [frames] in [0, 1] from object state, as a tireless annotator would draw it: above 0.85 in successful frames alone."""
    episode = store.read(episode_id, ("tool/pose",))
    task, frames = make_task(load_task(TASK)), len(episode) + 1
    first = {k: np.repeat(v[:1], frames, axis=0) for k, v in episode.privileged.items()}
    state = TaskState(episode.observations, episode.privileged, first)
    # `shaped` stays below 0.9 short of success.
    return np.where(task.success(state), SUCCESS_SKETCH, LAST_BELOW * task.shaped(state) / 0.9).clip(0.0, 1.0).astype(np.float32)
