"""Success against simulated time, with the count of sketches (spec 000 line 87), read from the store alone: nothing of it can be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.config import load_cell
from apprentice_core.statistics import wilson
from apprentice_store.bag_metadata import write_durably
from apprentice_store.commit_log import commits_after
from apprentice_store.sketches import sketches
from apprentice_store.store import Store
from apprentice_workflows.insertion.interactive.rig import DEMOS, EVALUATE, LEARNED_FROM
from apprentice_workflows.insertion.interactive.settings import CELL, TASK

PAPER = 0.8
"""success that the paper names for a working day"""
HOUR = 3600.0


def read_curve(store: Store, window: int) -> dict[str, Any]:
    """`rows`, one for each own episode in order of commit: simulated hours so far (demonstrations included, resets not), success, running
    success rate over `window`, sketches so far, bundle that drove; and what they come to. `evaluation` is the last evaluated policy's."""
    period = load_cell(CELL).timing.control_period
    # Commits first: an actor may add one meanwhile, and every commit has to find its row.
    commits = commits_after(store.catalogue, 0, store.store_id, LEARNED_FROM)
    rows = {r.episode_id: r for r in store.episodes(LEARNED_FROM, hidden=True)}
    demos = {r.episode_id for r in store.episodes(DEMOS, hidden=True)}
    saved = np.sort([x.revision for x in sketches(store.catalogue, TASK).sketches])
    hours = 0.0
    out: list[dict[str, Any]] = []
    for commit in commits:
        row = rows[commit.episode_id]
        hours += row.steps * period / HOUR
        if commit.episode_id in demos:
            continue
        recent = [*(r["success"] for r in out[-window + 1 :]), bool(row.success)] if window > 1 else [bool(row.success)]
        out.append({
            "episode": len(out) + 1, "episode_id": row.episode_id, "hours": round(hours, 5), "success": bool(row.success),
            "steps": row.steps, "reason": row.reason, "rate": sum(recent) / len(recent),
            "sketches": int(np.searchsorted(saved, commit.revision)), "bundle": row.bundle_id,
        })
    good = [r for r in out if r["episode"] >= window and r["rate"] >= PAPER]
    evaluated = sorted(store.episodes(f"tag = '{EVALUATE}'"), key=lambda r: r.started)
    judged = [bool(r.success) for r in evaluated if r.bundle_id == evaluated[-1].bundle_id]
    low, high = wilson(sum(judged), len(judged)) if judged else (0.0, 1.0)
    return {
        "task": TASK, "window": window, "demonstrations": len(demos), "sketches": len(saved), "episodes": len(out),
        "hours": round(hours, 5), "rate": out[-1]["rate"] if out else None, "hours_to_80_percent": good[0]["hours"] if good else None,
        "evaluation": {"successes": sum(judged), "trials": len(judged), "low": low, "high": high}, "rows": out,
    }


def write_curve(out: Path, curve: dict[str, Any], **more: Any) -> None:
    """result.json and plot.png."""
    write_durably(out / "result.json", json.dumps({**more, **curve}, indent=1) + "\n")
    _figure(curve).savefig(out / "plot.png", dpi=110)


def _figure(curve: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes, rows = figure.subplots(), curve["rows"]
    hours = [r["hours"] for r in rows]
    axes.plot(hours, [100 * r["rate"] for r in rows], color="tab:blue", label=f"success, last {curve['window']} episodes")
    axes.scatter(hours, [100.0 * r["success"] for r in rows], s=6, color="tab:blue", alpha=0.3)
    axes.axhline(100 * PAPER, color="tab:gray", linestyle=":", label="the paper's 80 %")
    axes.set(xlabel="simulated hours, demonstrations included", ylabel="success, %", ylim=(-4, 104))
    count = axes.twinx()
    count.step(hours, [r["sketches"] for r in rows], where="post", color="tab:orange", label="sketches")
    count.set(ylabel="sketches", ylim=(0, None))
    lines = [*axes.get_legend_handles_labels()[0], *count.get_legend_handles_labels()[0]]
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="upper left", fontsize=8)
    axes.set_title("Interactive insertion", loc="left")
    return figure
