"""Step F: the promising agents on the cell, their episodes into the store, and what fools the reward model (sections 2.1, 2.11, 2.12)."""

from __future__ import annotations

import math
from typing import Any

from apprentice_core.cell import EpisodeRequest
from apprentice_workflows.cells import POLICY
from apprentice_workflows.episodes import Tally, as_dict, seeded_starts
from apprentice_workflows.wheel import learning
from apprentice_workflows.wheel.context import AGENT_SEED, TRIAL_SEED, WheelContext

TRIAL, AGENT = "trial", "agent"


def execution_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    n = c.numbers
    return {
        "agents": [a["id"] for a in c.state.outputs(turn, "E")["agents"]], "shortlist": n.shortlist, "trial": n.trial_episodes,
        "episodes": n.agent_episodes, "noise": n.exploration_noise, "delusions": n.delusions, "steps": n.episode_steps,
    }


def shortlist(agents: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The best by validation score, those without one last; of equals the first."""
    return sorted(agents, key=lambda a: math.inf if a["score"] is None else -float(a["score"]))[:count]


def choose(trials: list[tuple[dict[str, Any], Tally]]) -> dict[str, Any]:
    """The agent with the most successful trials; of equals the one that stood higher on the shortlist."""
    return max(enumerate(trials), key=lambda t: (t[1][1].successes, -t[0]))[1][0]


def execute(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step F. The same starts for every trial; then the chosen agent with exploration noise; then labels, and delusions to the queue."""
    short = shortlist(c.state.outputs(turn, "E")["agents"], c.numbers.shortlist)
    with c.rig.open(c.task) as cell:
        trials = [(a, _episodes(c, cell, turn, a, TRIAL, c.numbers.trial_episodes, TRIAL_SEED, 0.0)) for a in short]
        chosen = choose(trials)
        run = _episodes(c, cell, turn, chosen, AGENT, c.numbers.agent_episodes, AGENT_SEED, c.numbers.exploration_noise)
    reward = c.found(c.state.outputs(turn, "D")["bundle"])
    learning.label(c, reward)
    found = learning.delusions(c, reward, [c.tag(turn, "F", kind) for kind in (TRIAL, AGENT)])
    return {
        "trials": [as_dict(t, {"name": a["name"], "bundle_id": a["id"], "score": a["score"]}) for a, t in trials],
        "chosen": chosen, "episodes": as_dict(run), "delusions": found,
    }


def _episodes(c: WheelContext, cell: Any, turn: int, agent: dict[str, Any], kind: str, count: int, seed: int, noise: float) -> Tally:
    """Episodes of one agent; they run past success, as demonstrations do, so that its holding is seen too."""
    tag = c.tag(turn, "F", kind)
    where = f"tag = '{tag}' and bundle_id = '{agent['id']}'"
    starts = seeded_starts(count, c.seed(seed, turn))
    if c.rig.missing(where, starts)[1]:
        c.rig.take_policy(cell, c.found(agent["bundle"]))
    request = EpisodeRequest(
        c.task, POLICY, steps=c.numbers.episode_steps, tags=tuple(dict.fromkeys((AGENT, kind, tag))),
        metadata=c.metadata(turn, exploration_noise=noise, agent=agent["name"]),
    )
    return c.rig.record(cell, f"{kind} {agent['name']}", where, starts, request)
