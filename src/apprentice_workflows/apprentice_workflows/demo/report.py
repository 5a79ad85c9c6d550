"""report.json (its keys are an interface) and report.html (one file, nothing to load from elsewhere)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apprentice_core.errors import BagError
from apprentice_store.store import Store
from apprentice_workflows.demo.pictures import camera_strip, curve_plot, success_plot
from apprentice_workflows.demo.settings import DemoSettings
from apprentice_workflows.demo.state import DemoState
from apprentice_workflows.demo.training import metric_curves
from apprentice_workflows.episodes import Tally, as_dict
from apprentice_workflows.pages import render


def collect_facts(store: Store, state: DemoState, tallies: list[Tally]) -> dict[str, Any]:
    """What report.json says. `observations_lost` is counted anew from the committed bags, not taken from what the nodes said."""
    rows = store.episodes("kind = 'episode'")
    lost, damaged = 0, []
    for row in store.episodes():
        try:
            lost += int(store.row_of(store.path(row.episode_id))[0].lost)
        except BagError as error:
            damaged.append(str(error))
    check = store.check(hashes=True)
    return {
        "policies": [as_dict(t) for t in tallies],
        "steps_recorded": sum(r.steps for r in rows),
        "observations_lost": lost,
        "wall_s": state.wall_s,
        "stages": dict(state.stages),
        "episodes_recorded": len(rows),
        "damaged": damaged,
        "store_check": check.as_dict(),
        "settings": json.loads(state.path.read_text(encoding="utf-8"))["settings"],
    }


def judge(facts: dict[str, Any], settings: DemoSettings) -> list[str]:
    """The targets that were missed, in words. --quick has too few episodes for the success targets, and is not judged by them."""
    missed = []
    if facts["observations_lost"]:
        missed.append(f"{facts['observations_lost']} observations lost, to reach: 0")
    if facts["damaged"] or not facts["store_check"]["ok"]:
        missed.append("the store check found something wrong")
    short = [p["name"] for p in facts["policies"] if p["episodes"] < settings.evaluation_episodes]
    if short:
        missed.append(f"fewer than {settings.evaluation_episodes} evaluation episodes of {', '.join(short)}")
    if settings.quick:
        return missed
    learned = [p for p in facts["policies"] if p["name"] != settings.random]
    baseline = next(p for p in facts["policies"] if p["name"] == settings.random)
    best = max(learned, key=lambda p: p["successes"] / max(1, p["episodes"]))
    rate = best["successes"] / max(1, best["episodes"])
    if rate < settings.target_rate:
        missed.append(f"best learned policy {best['name']}: {100 * rate:.0f} %, to reach: {100 * settings.target_rate:.0f} %")
    if best["wilson_low"] <= baseline["wilson_high"]:
        missed.append(f"{best['name']}'s interval is not above {settings.random}'s")
    return missed


def write_report(out: Path, store: Store, settings: DemoSettings, state: DemoState, tallies: list[Tally]) -> dict[str, Any]:
    """Writes both files into `out` and returns the facts of report.json."""
    facts = collect_facts(store, state, tallies)
    curves = [(p.name, metric_curves(out / "policies" / p.name)) for p in settings.policies]
    page = render(
        "demo",
        facts=facts,
        settings=settings,
        success=success_plot(facts["policies"], settings.target_rate),
        curves=[(name, curve_plot(name, c)) for name, c in curves if c],
        strips=strips(store, tallies),
        groups=store.stats()["groups"],
        missed=judge(facts, settings),
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "report.json").write_text(json.dumps(facts, indent=2, default=str), encoding="utf-8")
    return facts


def strips(store: Store, tallies: list[Tally]) -> list[tuple[str, str]]:
    """(caption, picture) of a success and a failure: the learned policies' if there are any, else of whoever drove."""
    out = []
    for wanted in (True, False):
        found = next(((t, r) for t in tallies for r in t.refs if r.success is wanted), None)
        if found is None:
            continue
        tally, ref = found
        episode = store.read(ref.episode_id)
        caption = f"{tally.name}: {'success' if wanted else 'failure'} ({ref.reason}) after {ref.steps} steps, episode {ref.episode_id}"
        out.append((caption, camera_strip(episode)))
    return out
