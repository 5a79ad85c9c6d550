"""Tables 5 to 7 as one experiment: which cells, and which of the thesis's claims hold in our family (C32, C33, C41)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apprentice_workflows.experiments.comparison import beats, worst
from apprentice_workflows.experiments.result import Verdict, cell, write_result
from apprentice_workflows.on_the_job.baselines import ALONE, BASELINES
from apprentice_workflows.on_the_job.models import Job
from apprentice_workflows.on_the_job.practice import Cell, run_baseline, run_practice
from apprentice_workflows.on_the_job.starts import SCENARIOS
from apprentice_workflows.on_the_job.tables import ARMS, COLUMNS, CONNECTORS, MAIN, THESIS, THESIS_ABLATION, THESIS_TRIALS, Found, column

CLAIM = (
    "C-c4 and C41: practice with the robot's own reward raises success on every held-out connector in both scenarios, in at most 200 "
    "trials of 20 steps."
)
ENOUGH = 0.75
"""C-c5: 15 of 20"""


def run_cells(job: Job, seeds: Sequence[int], connectors: Sequence[str] = CONNECTORS, arms: Sequence[str] = ARMS) -> Found:
    """Baselines first, then the full method in both scenarios, then the other arms in scenario II, all for one seed before the next."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for seed in seeds:
        todo = [Cell(b, c, s, seed) for s in SCENARIOS for c in connectors for b in BASELINES]
        todo += [Cell(b, c, "II", seed) for c in connectors for b in ALONE]
        todo += [Cell(MAIN, c, s, seed) for s in reversed(SCENARIOS) for c in connectors if MAIN in arms]
        todo += [Cell(a, c, "II", seed) for a in arms if a != MAIN for c in connectors]
        for k, one in enumerate(todo):
            job.tell(f"Tables 5 to 7, seed {seed}", k, len(todo), one.name)
            run = run_practice if one.who in ARMS else run_baseline
            found.setdefault((one.who, one.connector, one.scenario), []).append(run(job, one))
    return found


def cells(found: Found) -> list[dict[str, Any]]:
    """A cell's name is '<scenario> <connector>, <column>'; those of Table 7's other arms carry the arm's name."""
    out = []
    for scenario in SCENARIOS:
        for c in CONNECTORS:
            for k, n in enumerate(COLUMNS):
                counted = column(found, n, c, scenario)
                if counted[1]:
                    out.append(cell(f"{scenario} {c}, {n}", *counted, THESIS[scenario][c][k] / THESIS_TRIALS))
    for c in CONNECTORS:
        for arm, thesis in zip(ARMS[1:], THESIS_ABLATION[c][1:], strict=True):
            for n, successes in zip(("offline", "online"), thesis, strict=True):
                counted = column(found, n, c, "II", arm)
                if counted[1]:
                    out.append(cell(f"II {c}, {arm} {n}", *counted, successes / THESIS_TRIALS))
        out += [cell(f"II {c}, {a}", *counted, None) for a in ALONE if (counted := column(found, a, c, "II"))[1]]
    return out


def _rates(found: Found, names: Sequence[str], scenarios: Sequence[str] = SCENARIOS) -> list[float]:
    return [s / n for sc in scenarios for c in CONNECTORS for name in names for s, n in [column(found, name, c, sc)] if n]


def claims(found: Found) -> dict[str, Verdict]:
    """Comparisons by rule X15; C-c5 and C-c12 are about our numbers as they are."""
    places = [(c, s) for s in SCENARIOS for c in CONNECTORS]
    online, fixed = _rates(found, ["online"]), _rates(found, BASELINES)
    alone = _rates(found, ALONE, ["II"])
    return {
        "C-c4 online above offline everywhere": worst([
            beats(column(found, "online", c, s), column(found, "offline", c, s)) for c, s in places
        ]),
        "C-c5 online at least 15/20 everywhere": _all(online, len(places), lambda r: r >= ENOUGH),
        "C-c5 no scripted baseline does so": _all(fixed, len(places) * len(BASELINES), lambda r: r < ENOUGH),
        "C-c8 and C-c9 full method above the ablations": worst([
            beats(column(found, "online", c, "II"), column(found, "online", c, "II", arm)) for arm in ARMS[1:] for c in CONNECTORS
        ]),
        "C-c12 without localisation all fail in II": _all(alone, len(CONNECTORS) * len(ALONE), lambda r: r == 0.0),
    }


def _all(rates: Sequence[float], complete: int, good: Any) -> Verdict:
    if not all(good(r) for r in rates):
        return "does not hold"
    return "holds" if len(rates) == complete else "undecided"


def practice_facts(found: Found) -> dict[str, Any]:
    """What practice came to beside its successes: R against the truth (C34), the alarm (C35), first contact (C43), by cell."""
    keys = ("confusion", "alarm_trial", "first_contact_trial", "trials", "transitions")
    return {
        f"{scenario} {c}, {who}": [{**{k: r[k] for k in keys}, "training_successes": sum(r["training_successes"])} for r in results]
        for (who, c, scenario), results in found.items() if who in ARMS
    }


def job_online(job: Job, out: Path, seeds: Sequence[int] = ()) -> dict[str, Any]:
    """Runs what is missing of Tables 5 to 7 and writes result.json and plot.png into `out`."""
    used = seeds or job.s.seeds
    found = run_cells(job, used)
    judged = claims(found)
    wall = sum(r["cpu_s"] for results in found.values() for r in results)
    return write_result(
        out, CLAIM, cells(found), judged["C-c4 online above offline everywhere"], used, job.s.model_dump(mode="json"), wall,
        claims=judged, practice=practice_facts(found),
    )
