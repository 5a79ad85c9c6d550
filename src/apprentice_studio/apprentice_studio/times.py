"""How long success took (spec 000 line 78): agents against people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from sqlalchemy import select

from apprentice_core.statistics import percentile
from apprentice_store import schema as s
from apprentice_store.catalogue import SKETCH, Catalogue, EpisodeRow

SUCCESS_THRESHOLD = 0.85
"""tau_s of spec 000 section 2.7 (paper): the green band goes from here to 1"""
_PEOPLE = {"EPISODE_ROBOT_TELEOPERATION": "human", "EPISODE_ROBOT_DAGGER": "mixed"}


def driver(row: EpisodeRow) -> str:
    """human, mixed (a person took over at times), agent (a learned policy) or script."""
    return _PEOPLE.get(row.episode_type) or ("agent" if row.bundle_id else "script")


def times_to_success(catalogue: Catalogue, rows: Iterable[EpisodeRow]) -> dict[str, float]:
    """Seconds from the start to success of each successful episode for which that is known.

    An episode that success ended took its duration. Of one that went on, a sketch for its task says it: its first frame in the green band
    (the newest sketch that reaches it). Without either it is left out.
    """
    won = [r for r in rows if r.success]
    out = {r.episode_id: r.duration for r in won if r.reason == "success"}
    on = {r.episode_id: r for r in won if r.episode_id not in out and r.steps}
    t = s.reward_sequences.c
    ids = list(on)
    with catalogue.transaction() as c:
        for start in range(0, len(ids), 500):
            mine = t.episode_id.in_(ids[start : start + 500]) & (t.type == SKETCH)
            for episode_id, task, blob in c.execute(select(t.episode_id, t.task, t["values"]).where(mine).order_by(t.revision)):
                row = on[episode_id]
                reached = np.flatnonzero(np.frombuffer(blob, "<f4") > SUCCESS_THRESHOLD)
                if task == row.task and len(reached):
                    out[episode_id] = float(reached[0]) * row.duration / row.steps
    return out


def summary(times: Iterable[float]) -> dict[str, float | int | None]:
    """n, median, quartiles, mean, shortest and longest in seconds; None where there is nothing."""
    values = list(times)
    if not values:
        return {"n": 0, "median": None, "q25": None, "q75": None, "mean": None, "min": None, "max": None}
    return {
        "n": len(values), "median": percentile(values, 50), "q25": percentile(values, 25), "q75": percentile(values, 75),
        "mean": sum(values) / len(values), "min": min(values), "max": max(values),
    }


def by_driver(catalogue: Catalogue, rows: Iterable[EpisodeRow]) -> dict[str, Mapping[str, float | int | None]]:
    """`summary` for each driver that has successful episodes, and in `unknown` how many successes have no known time."""
    won = [r for r in rows if r.success]
    times = times_to_success(catalogue, won)
    out: dict[str, Mapping[str, float | int | None]] = {}
    for name in sorted({driver(r) for r in won}):
        mine = [r for r in won if driver(r) == name]
        known = [times[r.episode_id] for r in mine if r.episode_id in times]
        out[name] = {**summary(known), "unknown": len(mine) - len(known)}
    return out
