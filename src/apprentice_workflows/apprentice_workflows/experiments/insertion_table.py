"""Tables 3 and 4 of the thesis in simulation (spec 001c sections 3.6 and 3.7): methods x connectors x goal condition, and what follows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_workflows.cli.progress import stages
from apprentice_workflows.experiments.comparison import beats, fisher, worst
from apprentice_workflows.experiments.result import Verdict, cell, write_result
from apprentice_workflows.insertion.methods import CONNECTORS, METHODS, Method
from apprentice_workflows.insertion.pictures import comparison
from apprentice_workflows.insertion.run import RESULT, cell_folder, run_cells
from apprentice_workflows.insertion.settings import settings
from apprentice_workflows.insertion.table import Results, pooled, show
from apprentice_workflows.insertion.trials import CONDITIONS


class TableSettings(Strict):
    """Which cells are run, and how often."""

    preset: str
    methods: tuple[str, ...] = Field(tuple(METHODS), description="rows; paper: all thirteen")
    connectors: tuple[str, ...] = CONNECTORS
    seeds: tuple[int, ...] = (0,)


PRESETS = {
    "paper": TableSettings(preset="full", seeds=(0, 1, 2)),
    "small": TableSettings(preset="small"),
    "tiny": TableSettings(preset="tiny", methods=("p_controller", "residual_sparse_sac"), connectors=("usb",)),
}


def compared(results: Results, better: str, worse: str, condition: str) -> dict[str, dict[str, float]]:
    """Connector -> both rates and Fisher's p, where both were run."""
    out = {}
    for c in CONNECTORS:
        if (better, c) in results and (worse, c) in results:
            a, b = pooled(results[better, c], condition), pooled(results[worse, c], condition)
            out[c] = {"better": a[0] / a[1], "worse": b[0] / b[1], "p": fisher(a, b)}
    return out


def verdict_of(results: Results, better: str, worse: str, condition: str) -> Verdict:
    """By rule X15, on every board on which both were run."""
    both = [c for c in CONNECTORS if (better, c) in results and (worse, c) in results]
    return worst([beats(*(pooled(results[m, c], condition) for m in (better, worse))) for c in both])


def claims(results: Results) -> dict[str, Any]:
    """Of section 3.7, with what they were judged by. Absent: not run."""
    out: dict[str, Any] = {}
    for name, (better, worse, condition) in {
        "B-c1 images: residual SAC above pure SAC, perfect goal": ("residual_images_sac", "pure_images_sac", "perfect"),
        "B-c2 residual SAC above the P-controller under +-1 mm": ("residual_images_sac", "p_controller", "noisy"),
        "B-c4 sparse residual: SAC above TD3 under +-1 mm": ("residual_sparse_sac", "residual_sparse_td3", "noisy"),
        "sparse residual SAC above the P-controller under +-1 mm": ("residual_sparse_sac", "p_controller", "noisy"),
    }.items():
        found = compared(results, better, worse, condition)
        if found:
            out[name] = {"verdict": verdict_of(results, better, worse, condition), **found}
    saturated = {
        m: [r["noisy"]["saturated"] for (name, _), rs in results.items() if name == m for r in rs]
        for m in ("residual_sparse_sac", "residual_sparse_td3", "residual_images_sac", "residual_images_td3")
    }
    out["B-c5 share of |a| > 0.95"] = {m: round(sum(v) / len(v), 3) for m, v in saturated.items() if v}
    noisy = [pooled(results["p_controller", c], "noisy") for c in CONNECTORS if ("p_controller", c) in results]
    if len(noisy) == len(CONNECTORS):
        rates = [s / n for s, n in noisy]
        out["B-c10 order of difficulty"] = "holds" if rates == sorted(rates, reverse=True) and len(set(rates)) == 3 else "does not hold"
    return out


def insertion_table(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """Runs what is missing of the preset's cells in `data`/insertion, then writes the table of all that is there."""
    s, began = PRESETS[preset], time.monotonic()
    cells = [(c, METHODS[m]) for m in s.methods for c in s.connectors if c in METHODS[m].connectors]
    with stages() as tell:
        results = run_cells(data / "insertion", cells, settings(s.preset), s.seeds, tell)
    return write(results, s, data / "insertion", out, time.monotonic() - began)


def write(results: Results, s: TableSettings, folder: Path, out: Path, wall_s: float) -> dict[str, Any]:
    table = [
        cell(f"{c} {k}, {METHODS[m].title}", *pooled(found, k), METHODS[m].rates.get(c, (None, None))[i])
        for (m, c), found in results.items() for i, k in enumerate(CONDITIONS)
    ]
    judged = claims(results)
    main = judged.get("B-c2 residual SAC above the P-controller under +-1 mm", {"verdict": "undecided"})
    result = write_result(
        out, "B-c2: residual SAC on images beats the P-controller under +-1 mm of goal error, on every board", table,
        main["verdict"], s.seeds, s.model_dump(mode="json"), sum(r["wall_s"] for found in results.values() for r in found) or wall_s,
        claims=judged, steps_to_solve={f"{c}, {m}": [r.get("steps_to_solve") for r in found] for (m, c), found in results.items()},
        interventions={f"{c}, {m}": [r.get("interventions", 0) for r in found] for (m, c), found in results.items()},
        samples_per_s={f"{c}, {m}": [r.get("samples_per_s") for r in found] for (m, c), found in results.items()},
    )
    chosen = best_residual(results)
    if chosen is not None:
        connector, m = chosen
        comparison(folder, connector, m, cell_folder(folder, connector, m, s.seeds[0]) / RESULT, out / "learned_and_base.png")
    show(results)
    return result


def best_residual(results: Results) -> tuple[str, Method] | None:
    """The hardest connector on which a residual method was run, and the one that did best there under noise."""
    for c in reversed(CONNECTORS):
        found: Sequence[tuple[float, str]] = [
            (pooled(rs, "noisy")[0] / pooled(rs, "noisy")[1], m)
            for (m, name), rs in results.items() if name == c and METHODS[m].family == "residual"
        ]
        if found:
            return c, METHODS[max(found)[1]]
    return None
