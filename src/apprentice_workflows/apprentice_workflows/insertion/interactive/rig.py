"""The cell of interactive insertion, where its episodes start, and what they are called in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from apprentice_control.boundary import make_boundary
from apprentice_core.cell import ActionSource, EpisodeRequest, ResetRequest
from apprentice_core.cell_factory import effective_limits
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardSource
from apprentice_core.tasks import ScriptedReward, make_task
from apprentice_learning.online.journal import EPISODES
from apprentice_sim.scenes import make_scene
from apprentice_sim.sim_cell import SimCell
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.settings import CELL, TASK, InteractiveSettings

DEMO, TRAIN, EVALUATE = "demo", "train", "evaluate"
POLICY, EXPERT = "policy", "expert"
DEMOS, OWN = f"tag = '{DEMO}' and {EPISODES}", f"tag = '{TRAIN}' and {EPISODES}"
LEARNED_FROM = f"(tag = '{DEMO}' or tag = '{TRAIN}') and {EPISODES}"
START_SIDE, START_TURN = 0.03, 0.15
"""half the side of the 6 cm cube, m, and 8.6 degrees each way (paper)"""
ABOVE = 0.05
"""m over the goal of the cube's middle: the plug's tip is then clear of the socket everywhere in it (ours)"""
SEED_RANGE = 1_000_000
EVALUATION_SEED, DEMO_SEED, TRAIN_SEED = 0, 100_000, 200_000
"""first starts of each kind within a run's range (ours); evaluation's are the same for every run"""


def draw_start(seed: int, goal: np.ndarray) -> dict[str, Any]:
    """metadata["start"]: tool position in the cube over the goal [3] and turn from the home orientation, both uniform, by the seed."""
    rng = np.random.default_rng([seed, 83])
    tool = goal + np.array([0.0, 0.0, ABOVE]) + rng.uniform(-START_SIDE, START_SIDE, 3)
    return {"tool": tool.tolist(), "turn": rng.uniform(-START_TURN, START_TURN, 3).tolist()}


def calibrated_goal() -> np.ndarray:
    """Tool position [3] with the plug fully in; the demonstrator knows it, the policy does not."""
    return np.asarray(make_scene(load_cell(CELL).scene, load_task(TASK)).tool_goal, dtype=np.float64)


def request(s: InteractiveSettings, seed: int, source: str, tag: str, acting: Mapping[str, Any] | None = None) -> EpisodeRequest:
    """An episode from a drawn start. Only the demonstrator's has a goal."""
    goal = calibrated_goal()
    metadata: dict[str, Any] = {"start": draw_start(seed, goal), **(acting or {})}
    if source == EXPERT:
        metadata["goal"] = {"position": goal.tolist()}
    return EpisodeRequest(TASK, source, ResetRequest(seed=seed), steps=s.horizon, metadata=metadata, tags=(tag,))


def seed_of(run: int, kind: int, n: int) -> int:
    return n if kind == EVALUATION_SEED else SEED_RANGE * (1 + run) + kind + n


def open_cell(store: Store, seed: int, sources: Mapping[str, ActionSource] | None = None) -> SimCell:
    """The simulated cell, committing to `store`. Success is verified from the true poses; what is learned from is the sketch model's."""
    task, config = load_task(TASK), load_cell(CELL)
    profile = load_robot(config.robot)
    rewards: list[RewardSource] = [ScriptedReward(make_task(task)), make_boundary(profile, effective_limits(profile, config, task))]
    return SimCell(config, task, seed, sources=sources, rewards=rewards, sink=BagSink(store), drive_resets=False)


def demonstrate(store: Store, s: InteractiveSettings, seed: int, tell: Any) -> None:
    """Collects what is missing of the demonstrations by the scripted demonstrator (a person records into the same store over the nodes).

    Failed ones are kept and counted too, as everywhere (spec 000 section 2.2).
    """
    from apprentice_control.scripted import PlugExpert

    have = len(store.episodes(DEMOS))
    if have >= s.demonstrations:
        return
    cell = open_cell(store, seed)
    try:
        cell.sources[EXPERT] = PlugExpert(cell.profile, cell.spec.action_space, noise=s.demo_noise, seed=seed, name=EXPERT)
        for n in range(have, have + 2 * s.demonstrations):
            have += bool(cell.run(request(s, seed_of(seed, DEMO_SEED, n), EXPERT, DEMO)).episode_id)
            tell("demonstrations", have, s.demonstrations, "")
            if have >= s.demonstrations:
                return
        raise ApprenticeError(f"{have} of {s.demonstrations} demonstrations could be recorded: the reset fails again and again")
    finally:
        cell.close()
