"""Table 8: how well five representations judge connectors that they have never seen (C10-C13, C40). A run is kept by method and seed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_learning.representations.config import METHOD_NAMES, Method
from apprentice_learning.representations.evaluation import ConnectorAccuracy, RewardReport, RewardTable, reward_accuracy
from apprentice_workflows.experiments.comparison import apart, worst
from apprentice_workflows.experiments.result import Verdict, write_result
from apprentice_workflows.on_the_job.models import Job

CLAIM = (
    "C-c1 to C-c3 and C40: on held-out connectors DAIB judges success more accurately than ERM by at least 3 points and than every other "
    "baseline; DANN stays below DAIB."
)
MARGIN = 0.03
"""C40"""
Grid = dict[tuple[Method, int], dict[str, Any]]


def run_one(job: Job, method: Method, seed: int) -> dict[str, Any]:
    """Trains and judges one model, or reads what that came to."""
    path = job.folder / "rewards" / f"{method}_seed{seed}.json"
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    s, began = job.s, time.process_time()
    table = reward_accuracy(
        job.data, job.registry, (method,), (seed,), s.models, s.train_connectors, s.test_connectors, **job.frame_changes
    )
    found = {"report": asdict(table.reports[0]), "cpu_s": round(time.process_time() - began, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def run_grid(job: Job, methods: Sequence[Method], seeds: Sequence[int]) -> Grid:
    """All methods of a seed before the next seed, so that an unfinished table compares like with like."""
    unknown = sorted(set(methods) - set(METHOD_NAMES))
    if unknown:
        raise ApprenticeError(f"no representation {', '.join(unknown)}; known: {', '.join(METHOD_NAMES)}")
    out: Grid = {}
    for seed in seeds:
        for method in methods:
            job.tell("Table 8", len(out), len(methods) * len(seeds), f"{method}, seed {seed}")
            out[method, seed] = run_one(job, method, seed)
    job.tell("Table 8", len(out), len(out), "")
    return out


def report_of(found: dict[str, Any]) -> RewardReport:
    r = found["report"]
    return RewardReport(**{**r, "connectors": tuple(ConnectorAccuracy(**c) for c in r["connectors"])})


def cells(grid: Grid) -> list[dict[str, Any]]:
    """By method: accuracy over seeds with Student's interval; successes are frames judged right, all runs together."""
    rows = RewardTable(tuple(report_of(f) for f in grid.values())).rows()
    out = []
    for row in rows:
        reports = [report_of(f) for (m, _), f in grid.items() if m == row["method"]]
        frames = [(round(c.accuracy * c.frames), c.frames) for r in reports for c in r.connectors]
        out.append({
            "name": f"held-out connectors, {row['method']}", "successes": sum(f[0] for f in frames), "trials": sum(f[1] for f in frames),
            "low": max(0.0, row["low"]), "high": min(1.0, row["high"]), "paper": row["thesis"], "accuracy": row["accuracy"],
            "seeds": row["n"], "by_seed": [r.accuracy for r in reports], "false_positive_rate": row["false_positive_rate"],
            "probe": {k: _number(row[f"probe_{k}"]) for k in ("invariant", "specific", "chance")},
            "connectors": [{c.connector: round(c.accuracy, 4) for c in r.connectors} for r in reports],
        })
    return out


def _number(value: float) -> float | None:
    """None for NaN: a probe of a part that the method lacks."""
    return value if value == value else None


def claims(grid: Grid) -> dict[str, Verdict]:
    """Rule X15 on accuracies by seed; three seeds at least."""
    def values(method: Method) -> list[float]:
        return [report_of(f).accuracy for (m, _), f in grid.items() if m == method]

    daib = values("daib")
    above = {m: apart(daib, values(m), MARGIN if m == "erm" else 0.0) for m in METHOD_NAMES if m != "daib"}
    return {
        "C40 DAIB above ERM by 3 points": above["erm"], "C40 DANN below DAIB": above["dann"],
        "C-c1 DAIB above every baseline": worst(list(above.values())),
        "C-c1 DANN below ERM": apart(values("erm"), values("dann")), "C-c2 DAIB above lambda=0": above["daib_lambda0"],
        "C-c3 VIB above ERM": apart(values("vib"), values("erm")),
    }


def job_rewards(job: Job, out: Path, seeds: Sequence[int] = (), methods: Sequence[Method] = METHOD_NAMES) -> dict[str, Any]:
    """Runs what is missing of Table 8 and writes result.json and plot.png into `out`."""
    grid = run_grid(job, methods, seeds or job.s.reward_seeds)
    judged = claims(grid)
    verdict = worst([judged["C40 DAIB above ERM by 3 points"], judged["C40 DANN below DAIB"]])
    cpu_s = sum(f["cpu_s"] for f in grid.values())
    return write_result(
        out, CLAIM, cells(grid), verdict, sorted({s for _, s in grid}), job.s.model_dump(mode="json"), cpu_s,
        claims=judged, unit="frames of held-out connectors, half of each connector's positive; low and high: Student's 95 % interval of "
        "the mean accuracy over seeds (0 to 1 for one seed); probe: a linear probe of the training domain on z_I and z_S (C13)",
    )
