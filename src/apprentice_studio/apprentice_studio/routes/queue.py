"""What to sketch next (spec 000 line 39), and the named filters that feed it (line 27)."""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator

from apprentice_core.errors import ApprenticeError
from apprentice_store.saved_queries import forget_query, save_query, saved_queries
from apprentice_studio.context import Context
from apprentice_studio.fields import Body, TaskQuery, UserQuery, Where, WhereQuery, printable
from apprentice_studio.problems import NotFound
from apprentice_studio.routes.episodes import as_json

router = APIRouter(prefix="/api", tags=["queue"])
Mode = Literal["demos", "agent", "random_watcher", "delusions", "other_tasks", "query"]
QueryName = Annotated[str, Path(min_length=1, max_length=200), AfterValidator(printable)]
DELUSION = "delusion_candidate"
"""tag that the delusion finder sets (spec 000 section 2.12)"""
_DEMO = "(tag = 'demo' or episode_type in ('EPISODE_ROBOT_TELEOPERATION', 'EPISODE_ROBOT_DAGGER'))"


class QueryBody(Body):
    """A filter to be named."""

    where: Where


def where_of(mode: Mode, task: str, query: str = "") -> str:
    """The store's filter of a mode; ApprenticeError for `query` without one."""
    if mode == "query":
        if not query.strip():
            raise ApprenticeError("mode query: give the filter as `query`")
        return query
    name = task.replace("'", "''")
    condition = {
        "demos": f"task = '{name}' and {_DEMO}",
        "agent": f"task = '{name}' and bundle_id != '' and not {_DEMO}",
        "random_watcher": "(source = 'random_watcher' or tag = 'random_watcher')",
        "delusions": f"tag = '{DELUSION}'",
        "other_tasks": f"task != '{name}' and source != 'random_watcher'",
    }[mode]
    return f"kind = 'episode' and {condition}"


@router.get("/queue")
def queue(
    studio: Context, task: Annotated[TaskQuery, Query()], user: Annotated[UserQuery, Query()], mode: Mode = "demos",
    query: WhereQuery = "", limit: Annotated[int, Query(ge=1, le=500)] = 20,
) -> dict[str, Any]:
    """Episodes of a mode that the user has not sketched for the task, at random but in the same order each time; candidates for
    delusions come newest first. `left`: how many there are in all."""
    rows = studio.store.catalogue.episodes(where_of(mode, task, query), newest_first=True)
    done = studio.sketches.sketched_by(task, user)
    rows = [r for r in rows if r.episode_id not in done]
    if mode not in ("delusions", "query"):
        # Each episode draws its own place, so that a finished or new one does not move the others.
        rows.sort(key=lambda r: random.Random(f"{user}\n{task}\n{r.episode_id}").random())
    studio.throughput.seen(user)
    return {"mode": mode, "left": len(rows), "episodes": as_json(studio, rows[:limit])}


@router.get("/queries")
def queries(studio: Context) -> dict[str, Any]:
    """All named filters."""
    return {"queries": saved_queries(studio.store.catalogue)}


@router.put("/queries/{name}")
def name_query(studio: Context, name: QueryName, body: QueryBody) -> dict[str, Any]:
    """Names a filter; the one of that name before is replaced."""
    save_query(studio.store.catalogue, name, body.where)
    return {"queries": saved_queries(studio.store.catalogue)}


@router.delete("/queries/{name}")
def drop_query(studio: Context, name: QueryName) -> dict[str, Any]:
    """Forgets a name."""
    if not forget_query(studio.store.catalogue, name):
        raise NotFound(f"no query named {name!r}")
    return {"queries": saved_queries(studio.store.catalogue)}
