"""Steps D and E: the reward model from sketches, the whole store labelled by it, and several agents on the labelled store.

Each part is the command of its own name (`reward-train`, `relabel`, `train`), run as a child process on a config file that the wheel writes
out in full: what it did can be done again by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from apprentice_core.bundle import bundle_id, read_manifest
from apprentice_core.errors import ApprenticeError
from apprentice_workflows.children import end_child, start_child
from apprentice_workflows.demo.settings import PolicyPlan
from apprentice_workflows.demo.training import BUNDLE, newest_metrics, train_all
from apprentice_workflows.wheel.config import AgentPlan
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.state import digest

ALL_DATA, ON_TASK = 0.75, 0.25
"""paper: shares of a batch"""
RANKED_BY = "validation/critic_loss"
"""agents of one learner on the same labelled set are ranked by it, lowest first (ours; the paper does not say what it ranked by)"""
DELUSION_TAG = "delusion_candidate"
"""Studio's queue of delusions holds what carries this tag"""
INTERRUPTED = 130


def command(*words: str) -> dict[str, Any]:
    """Runs `apprentice <words>`, progress on this terminal; the JSON object of its last line. ApprenticeError when it fails,
    KeyboardInterrupt when it was interrupted (it has left a checkpoint)."""
    child = start_child([sys.executable, "-m", "apprentice_workflows", *words], stdout=subprocess.PIPE)
    try:
        said, _ = child.communicate()
    finally:
        end_child(child)
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode:
        raise ApprenticeError(f"apprentice {' '.join(words[:2])} failed (exit {child.returncode}); what it said is above")
    try:
        return dict(json.loads(said.decode().strip().splitlines()[-1]))
    except (ValueError, IndexError) as error:
        raise ApprenticeError(f"apprentice {words[0]} ended without its result") from error


def write_config(path: Path, fields: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path


# -- D -------------------------------------------------------------------------------------------------------------------


def reward_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    sequences = [s for t in range(1, turn + 1) for s in c.state.outputs(t, "C")["sequences"]]
    plan = c.numbers.reward.model_dump(mode="json")
    return {"sketches": sequences, "plan": plan, "cameras": c.config.cameras, "proprio": c.config.proprio}


def fit_reward(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step D: the reward model of this turn, from all sketches so far. Earlier models stay (spec 000 line 72)."""
    from apprentice_learning.rewards.config import load_reward_config

    # Other sketches or another plan are another run: a folder of its own, so that none is taken up for the other.
    plan, folder = c.numbers.reward, c.out / "reward" / f"turn{turn}-{digest(reward_inputs(c, turn))[:8]}"
    changes: dict[str, Any] = {"cameras": [f"camera/{n}" for n in c.config.cameras], "proprio": list(c.config.proprio)}
    changes |= {k: v for k, v in (("members", plan.members), ("steps", plan.steps)) if v}
    config = load_reward_config(plan.config, task=c.config.sketch_task, **changes)
    path = write_config(folder / "config.yaml", config.model_dump(mode="json"))
    result = command(
        "reward-train", c.config.sketch_task, "--data", str(c.store.folder), "--config", str(path), "--out", str(folder / "run"),
        "--revision", str(c.state.outputs(turn, "C")["revision"]), "--resume", "--json",
    )
    bundle = Path(result["bundle"])
    lineage = read_manifest(bundle).lineage
    return {
        "bundle": c.written(bundle), "id": result["bundle_id"], "metrics": result["metrics"], "sketches": result["sketches"],
        "episodes": result["episodes"], "sketch_ids": lineage.get("sketches", []), "revision": result["revision"],
    }


# -- relabelling and delusions ---------------------------------------------------------------------------------------------


def label(c: WheelContext, bundle: Path, where: str = "") -> dict[str, Any]:
    """Predicted rewards of this model for every episode (that fulfils `where`) that has none of it yet, of any task and age (spec 000
    section 2.8)."""
    result = command(
        "relabel", c.config.sketch_task, "--data", str(c.store.folder), "--model", str(bundle), "--workers", str(c.numbers.parallel),
        *(("--where", where) if where else ()), "--json",
    )
    return {k: result[k] for k in ("model_id", "episodes", "frames", "known", "wall_s")} | {"skipped": len(result["skipped"])}


def delusions(c: WheelContext, bundle: Path, tags: Sequence[str]) -> list[dict[str, Any]]:
    """Of the episodes with one of these tags: the failed ones that the model rates highest and, with an ensemble, those on which its
    members differ most; tagged, so that Studio's queue of delusions offers them (spec 000 section 2.12)."""
    from apprentice_learning.rewards.delusions import find_delusions

    limit = c.numbers.delusions
    if not limit:
        return []
    chosen = " or ".join(f"tag = '{t}'" for t in tags)
    model = bundle_id(read_manifest(bundle))
    failed = find_delusions(c.store.folder, c.config.sketch_task, "failure", limit, model, chosen)
    ensemble = c.numbers.reward.members > 1
    disputed = find_delusions(c.store.folder, c.config.sketch_task, "ensemble", limit, model, chosen) if ensemble else []
    # Half of each where there are enough, the worst failures first.
    half = limit - min(limit // 2, len(disputed))
    out = list({d.episode_id: d for d in (*failed[:half], *disputed, *failed[half:])}.values())[:limit]
    for d in out:
        if DELUSION_TAG not in c.store.catalogue.tags_of(d.episode_id):
            c.store.tag(d.episode_id, DELUSION_TAG, author="wheel")
    return [{"episode_id": d.episode_id, "mode": d.mode, "score": d.score, "frame": d.frame, "reason": d.reason} for d in out]


# -- E -------------------------------------------------------------------------------------------------------------------


def agent_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    return {
        "reward": c.state.outputs(turn, "D")["id"], "manifest": c.state.outputs(turn, "B")["manifest"],
        "agents": [a.model_dump(mode="json") for a in c.numbers.agents], "cameras": c.config.cameras, "proprio": c.config.proprio,
    }


def train_agents(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step E: labels everything, then trains each configuration with each seed, `parallel` at once, on the same labelled set."""
    reward = c.state.outputs(turn, "D")
    labelled = label(c, c.found(reward["bundle"]))
    folder = c.out / "agents" / f"turn{turn}-{digest(agent_inputs(c, turn))[:8]}"
    plans = [p for agent in c.numbers.agents for p in policy_plans(c, agent, reward["id"], folder)]
    train_all(plans, c.store.folder, c.config.datasets.all, folder, c.numbers.parallel)
    return {"relabel": labelled, "agents": [agent_facts(c, p, folder) for p in plans]}


def policy_plans(c: WheelContext, agent: AgentPlan, reward_id: str, folder: Path) -> list[PolicyPlan]:
    """One run a seed, on a config that is written out in full beside the runs."""
    fields = agent_config(c, agent, reward_id)
    path = write_config(folder / "configs" / f"{agent.label}.yaml", fields)
    return [PolicyPlan(f"{agent.label}_seed{seed}", str(path), agent.steps, seed) for seed in agent.seeds]


def agent_config(c: WheelContext, agent: AgentPlan, reward_id: str) -> dict[str, Any]:
    """The agent's training config on this wheel: its cameras and proprioception, the reward model, and the mix of data that the plan's
    ablation leaves (spec 000 lines 62, 66 and 67). ApprenticeError, before it is trained, for an agent that the wheel's cell would
    refuse."""
    from apprentice_core.streams import TRACKED
    from apprentice_learning.config import TrainConfig, load_train_config

    fields = load_train_config(agent.config).model_dump(mode="json")
    tracked = [name for name in fields["network"]["proprio"] if name.startswith(TRACKED)]
    if tracked and c.rig.nodes:
        raise ApprenticeError(f"agent {agent.label} reads {tracked[0]}, which no policy on the nodes may: run it without --nodes")
    fields["name"] = agent.label
    if fields["network"]["cameras"]:  # a low-dimensional agent reads what its own config says
        fields["network"] |= {"cameras": [f"camera/{n}" for n in c.config.cameras], "proprio": list(c.config.proprio)}
    on_task = {"name": "on_task", "tasks": list(c.config.datasets.on_task)}
    mix = [{"name": "everything", "ratio": ALL_DATA}, on_task | {"ratio": ON_TASK}]
    fields["view"] |= {
        "sources": [on_task | {"ratio": 1.0}] if agent.ablation == "task_only" else mix,
        "without_drivers": ["random_watcher"] if agent.ablation == "without_random_watcher" else [],
        "reward": f"model/{c.config.sketch_task}", "reward_model": reward_id,
    }
    if agent.ablation == "scalar_critic":
        fields["learner"]["settings"]["critic"] = "scalar"
    return TrainConfig.model_validate(fields).model_dump(mode="json")


def agent_facts(c: WheelContext, plan: PolicyPlan, folder: Path) -> dict[str, Any]:
    """A trained agent as the state and the report keep it; `score` is higher for the better, None where nothing was held out."""
    bundle = folder / plan.name / BUNDLE
    manifest, metrics = read_manifest(bundle), newest_metrics(folder / plan.name)
    return {
        "name": plan.name, "bundle": c.written(bundle), "id": bundle_id(manifest), "seed": plan.seed,
        "step": manifest.lineage.get("step", 0),
        "metrics": {k: v for k, v in metrics.items() if k.startswith(("validation/", "train/")) or k == "updates_per_s"},
        "score": -float(metrics[RANKED_BY]) if RANKED_BY in metrics else None, "lineage": manifest.lineage,
    }
