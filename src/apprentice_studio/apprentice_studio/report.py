"""The table of an evaluation in the layout of spec 000 section 5: policies down, conditions across, success rates (line 76)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apprentice_core.statistics import wilson
from apprentice_store.catalogue import Catalogue
from apprentice_store.evaluations import Check, Evaluation, checks, tallies
from apprentice_studio.times import summary, times_to_success


def cell(successes: int, trials: int) -> dict[str, Any]:
    """A rate with its Wilson 95 % interval; rate None without trials."""
    low, high = wilson(successes, trials)
    return {"successes": successes, "trials": trials, "rate": successes / trials if trials else None, "low": low, "high": high}


def report(catalogue: Catalogue, evaluation: Evaluation) -> dict[str, Any]:
    """{conditions, rows, open, interventions, markdown}. Of a blind evaluation that is not revealed, rows are labels."""
    conditions = list(dict.fromkeys(t.condition for t in evaluation.trials))
    rows, known = [], checks(catalogue, evaluation)
    for name, by_condition in tallies(evaluation).items():
        every = [by_condition.get(c, (0, 0)) for c in conditions]
        rows.append({
            "policy": name,
            "cells": {c: cell(*v) for c, v in zip(conditions, every, strict=True)},
            "total": cell(sum(v[0] for v in every), sum(v[1] for v in every)),
            "time_to_success": _times(catalogue, evaluation, name),
            "verified": _verified(evaluation, known, name),
        })
    return {
        "evaluation_id": evaluation.evaluation_id, "task": evaluation.task, "hidden": evaluation.hidden, "conditions": conditions,
        "rows": rows, "open": len(evaluation.open), "trials": len(evaluation.trials), "interventions": evaluation.interventions,
        "markdown": markdown(evaluation.task, conditions, rows),
    }


def _verified(evaluation: Evaluation, known: Mapping[int, Check], name: str) -> dict[str, Any]:
    """What poses or connection say of the judged trials of a row, beside the people: a cell of the table, numbers of the trials about which
    they differ, and how many a person had a hand in."""
    mine = {t.number for t in evaluation.trials if name == (t.label if evaluation.hidden else t.policy)}
    judged = {n: r.success for n, r in evaluation.results.items() if n in mine and r.success is not None}
    told = {n: known[n].success for n in judged if n in known and known[n].success is not None}
    return {
        **cell(sum(map(bool, told.values())), len(told)), "differ": sorted(n for n, s in told.items() if s != judged[n]),
        "helped": sum(n in known and known[n].steps > 0 for n in judged),
    }


def _times(catalogue: Catalogue, evaluation: Evaluation, name: str) -> dict[str, Any]:
    mine = [t.number for t in evaluation.trials if name == (t.label if evaluation.hidden else t.policy)]
    ids = {r.episode_id for n, r in evaluation.results.items() if n in mine and r.episode_id and r.success}
    rows = [row for i in sorted(ids) if (row := catalogue.get(i)) is not None]
    return summary(times_to_success(catalogue, rows).values())


def markdown(task: str, conditions: list[str], rows: list[dict[str, Any]]) -> str:
    """`80 % (8/10, 49-94)`: rate, successes of trials, Wilson 95 % interval in per cent."""
    def text(c: dict[str, Any]) -> str:
        if c["rate"] is None:
            return "-"
        return f"{100 * c['rate']:.0f} % ({c['successes']}/{c['trials']}, {100 * c['low']:.0f}-{100 * c['high']:.0f})"

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(x.replace("|", "\\|").replace("\n", " ") for x in cells) + " |"

    head = [line([task, *conditions]), line(["---"] * (1 + len(conditions)))]
    return "\n".join(head + [line([r["policy"], *(text(r["cells"][c]) for c in conditions)]) for r in rows]) + "\n"
