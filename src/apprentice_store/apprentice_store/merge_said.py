"""The part of `store merge` that is no bag and no annotation: predicted rewards, evaluations and saved queries of another data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select

from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import Annotation, Catalogue
from apprentice_store.predictions import KIND, Predictions
from apprentice_store.query import QueryError
from apprentice_store.saved_queries import save_query, saved_queries
from apprentice_store.store_check import Finding

if TYPE_CHECKING:
    from apprentice_store.store import Store


@dataclass(frozen=True)
class OtherFolder:
    """What of another data folder has to be read."""

    folder: Path
    catalogue: Catalogue


def take_said(store: Store, other: OtherFolder, episode_id: str, left: list[Finding]) -> tuple[int, int]:
    """(annotations, prediction files) taken over about an episode. Files come before the rows that name them, as they are written.

    Where a file of the same task, model and episode is here with other content, ours stays and their rows about it do not come.
    """
    mine, theirs = Predictions(store), Predictions(other)
    files, come = 0, set()
    known = {(p.task, p.model_id): p.sha256 for p in mine.of_episode(episode_id)}
    for p in theirs.of_episode(episode_id):
        try:
            files += mine.take(theirs, p)
        except (ApprenticeError, OSError) as error:
            left.append(Finding("prediction", f"{p.task}/{p.model_id}/{episode_id}", " ".join(str(error).split())))
            continue
        if known.get((p.task, p.model_id)) != p.sha256:
            come.add((p.task, p.model_id))

    def wanted(a: Annotation) -> bool:
        return a.kind != KIND or (a.name, a.author) in come

    return store.catalogue.adopt(episode_id, other.catalogue, wanted), files


def take_evaluations(catalogue: Catalogue, other: Catalogue, left: list[Finding]) -> tuple[int, int]:
    """(evaluations, results) taken over. Of an evaluation that both know, a result that is older than ours of its trial is left out, since
    of several the one written last holds; a blind one stays as hidden as it is here. One transaction."""
    plans, results = s.evaluations, s.evaluation_results
    with other.transaction() as c:
        their_plans = [dict(r) for r in c.execute(_all(plans)).mappings()]
        their_results = [dict(r) for r in c.execute(_all(results).order_by(results.c.number)).mappings()]
    taken, said = 0, 0
    with catalogue.transaction(writes=True) as c:
        mine = {r["evaluation_id"]: dict(r) for r in c.execute(_all(plans)).mappings()}
        for plan in their_plans:
            key = plan["evaluation_id"]
            if key not in mine:
                c.execute(insert(plans).values(plan))
                taken += 1
            elif (mine[key]["task"], mine[key]["plan"]) != (plan["task"], plan["plan"]):
                left.append(Finding("evaluation", key, "another plan of this id is here; it stays"))
                continue
            said += _results(c, key, [r for r in their_results if r["evaluation_id"] == key], left)
    return taken, said


def _results(c: Connection, evaluation_id: str, theirs: list[dict[str, Any]], left: list[Finding]) -> int:
    t = s.evaluation_results

    def content(row: Any) -> dict[str, Any]:
        return {k: v for k, v in dict(row).items() if k != "number"}

    mine = [content(r) for r in c.execute(_all(t).where(t.c.evaluation_id == evaluation_id)).mappings()]
    newest: dict[int, int] = {}
    for r in mine:
        newest[r["trial"]] = max(r["created"], newest.get(r["trial"], 0))
    count = 0
    for r in map(content, theirs):
        if r in mine:
            continue
        if r["created"] <= newest.get(r["trial"], -1):
            left.append(Finding("result", f"{evaluation_id}, trial {r['trial']}", f"said by {r['user']} before what is here"))
            continue
        c.execute(insert(t).values(r))
        count += 1
    return count


def take_queries(catalogue: Catalogue, other: Catalogue, left: list[Finding]) -> int:
    """Saved queries taken over; a name that stands for another query here keeps it."""
    mine, count = saved_queries(catalogue), 0
    for name, where in saved_queries(other).items():
        if name not in mine:
            try:
                save_query(catalogue, name, where)
            except QueryError as error:
                left.append(Finding("query", name, str(error)))
                continue
            count += 1
        elif mine[name] != where:
            left.append(Finding("query", name, "the name stands for another query here; it stays"))
    return count


def _all(table: Any) -> Any:
    return select(*(column.label(column.key) for column in table.c))
