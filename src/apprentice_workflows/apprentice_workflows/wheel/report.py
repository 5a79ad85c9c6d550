"""The turn report (spec 000 lines 4 and 76): report.json, whose keys are an interface, and report.html, one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import SKETCH
from apprentice_store.predictions import Predictions
from apprentice_workflows.demo.pictures import camera_strip, curve_plot, line_plot, rate_plot
from apprentice_workflows.demo.training import metric_curves
from apprentice_workflows.experiments.result import cell
from apprentice_workflows.pages import render
from apprentice_workflows.wheel import evaluation
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.state import STEPS, TITLES

PARTS_OF_A_TURN = (
    "data", "sketches", "reward", "relabel", "agents", "trials", "delusions", "chosen", "agent_episodes", "evaluation", "time_to_success",
)
"""keys of a turn in report.json; null until the step that gives it is done"""


def collect_facts(c: WheelContext) -> dict[str, Any]:
    """What report.json says; of a turn only the steps that are done."""
    turns = [_turn(c, t) for t in range(1, c.state.turns + 1)]
    newest = c.store.stats()
    # Of what the last turn's agents learn from, as the paper counts its 82, 94 and 100 %.
    eventual = max((t["data"]["steps"] for t in turns if t["data"]), default=1)
    for facts in turns:
        if facts["data"]:
            facts["data"]["fraction"] = facts["data"]["steps"] / eventual
    return {
        "wheel": c.config.name, "task": c.task, "text": c.config.task_config().text, "preset": c.preset, "turns": turns,
        "wall_s": c.state.wall_s, "dataset": newest["groups"], "episodes": newest["episodes"], "steps": newest["steps"],
        "seconds": {k: r.get("seconds", 0.0) for k, r in c.state.steps.items()}, "numbers": c.numbers.model_dump(mode="json"),
    }


def _turn(c: WheelContext, turn: int) -> dict[str, Any]:
    done = [s for s in STEPS if c.state.done(turn, s)]
    facts: dict[str, Any] = {"turn": turn, "done": done, **dict.fromkeys(PARTS_OF_A_TURN)}
    out = {s: c.state.outputs(turn, s) for s in done}
    if "B" in out:
        facts["data"] = {k: out["B"][k] for k in ("episodes", "steps", "hours", "on_task_episodes", "manifest", "revision")}
    if "C" in out:
        facts["sketches"] = {"user": out["C"]["user"], "counts": out["C"]["counts"], "new": len(out["C"]["sequences"])}
    if "D" in out:
        facts["reward"] = {k: out["D"][k] for k in ("id", "metrics", "sketches", "episodes", "sketch_ids", "revision")}
    if "E" in out:
        facts["relabel"] = out["E"]["relabel"]
        facts["agents"] = out["E"]["agents"]
    if "F" in out:
        facts["trials"], facts["delusions"] = out["F"]["trials"], out["F"]["delusions"]
        facts["chosen"] = {k: out["F"]["chosen"][k] for k in ("name", "id")}
        facts["agent_episodes"] = {k: out["F"]["episodes"][k] for k in ("episodes", "successes", "steps")}
    if "G" in out:
        # Counted anew from the store: somebody may have corrected a judgement since.
        held = evaluation.comparison(c, turn)
        (name,) = held.policies
        tallies = {s: held.tally(name, s) for s in held.starts}
        facts["evaluation"] = [cell(s, t.successes, len(t.refs), c.config.paper.get(s)) for s, t in tallies.items()]
        facts["time_to_success"] = out["G"]["time_to_success"]
    return facts


def write_report(c: WheelContext) -> Path:
    """Both files into the wheel's folder; the page's path."""
    facts = collect_facts(c)
    page = render(
        "wheel", facts=facts, titles=TITLES, rates=_rates(facts), reward=_reward_plot(facts), curves=_learning_curves(c, facts),
        strips=_strips(c, facts), drawn=_drawn(c, facts),
    )
    (c.out / "report.json").write_text(json.dumps(facts, indent=2, default=str), encoding="utf-8")
    path = c.out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _rates(facts: dict[str, Any]) -> str:
    rows = [{**e, "group": e["name"], "label": f"turn {t['turn']}"} for t in facts["turns"] for e in t["evaluation"] or ()]
    return rate_plot(rows) if rows else ""


def _reward_plot(facts: dict[str, Any]) -> str:
    turns = [t for t in facts["turns"] if t["reward"] and t["reward"]["metrics"]]
    if not turns:
        return ""
    names = ("pair_accuracy", "success_precision", "success_recall")
    lines = {}
    for name in names:
        known = [(t["turn"], t["reward"]["metrics"][f"validation/{name}"]) for t in turns if f"validation/{name}" in t["reward"]["metrics"]]
        if known:
            lines[name.replace("_", " ")] = ([k[0] for k in known], [k[1] for k in known])
    return line_plot("reward model on held-out episodes", lines, "turn", (0.0, 1.02)) if lines else ""


def _drawn(c: WheelContext, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Sketch and prediction over one episode that was sketched, and over the worst delusion candidate, of the newest labelled turn."""
    done = [t for t in facts["turns"] if t["relabel"]]
    if not done:
        return []
    model, predictions = done[-1]["reward"]["id"], Predictions(c.store)
    said = predictions.of(c.config.sketch_task, model)
    wanted = [("a sketched episode", i) for i in c.state.outputs(done[-1]["turn"], "C")["episodes"][:1]]
    wanted += [("the worst delusion candidate", d["episode_id"]) for d in (done[-1]["delusions"] or ())[:1]]
    out = []
    for caption, episode_id in wanted:
        lines: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            f"sketch of {user}": (range(len(values)), values.tolist())
            for _, kind, user, values in c.store.catalogue.reward_sequences(episode_id, c.config.sketch_task) if kind == SKETCH
        }
        if episode_id in said:
            values = predictions.read(said[episode_id])
            lines |= {f"member {k + 1}": (range(len(values)), values[:, k].tolist()) for k in range(values.shape[1])}
        if lines:
            out.append((f"{caption}, {episode_id}", line_plot(f"model {model}", lines, "frame", (0.0, 1.02))))
    return out


def _learning_curves(c: WheelContext, facts: dict[str, Any]) -> list[tuple[str, str]]:
    out = []
    for t in facts["turns"]:
        for agent in t["agents"] or ():
            curves = metric_curves(c.found(agent["bundle"]).parent)
            if curves:
                out.append((f"turn {t['turn']}, {agent['name']}", curve_plot(agent["name"], curves)))
    return out


def _strips(c: WheelContext, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the newest agent did: a success and a failure of its evaluation or its own episodes, and the worst delusion."""
    done = [t for t in facts["turns"] if t["chosen"]]
    if not done:
        return []
    newest, out = done[-1], []
    wanted = [(f"worst delusion candidate: {d['reason']}", d["episode_id"]) for d in newest["delusions"][:1]]
    rows = c.store.episodes(f"bundle_id = '{newest['chosen']['id']}'", newest_first=True)
    for good in (True, False):
        found = next((r for r in rows if r.success is good), None)
        if found is not None:
            wanted.append((f"{newest['chosen']['name']}: {'success' if good else 'failure'} ({found.reason})", found.episode_id))
    for caption, episode_id in wanted:
        try:
            out.append((f"{caption}, episode {episode_id}", camera_strip(c.store.read(episode_id))))
        except ApprenticeError as error:
            out.append((f"{caption}: {error}", ""))
    return out
