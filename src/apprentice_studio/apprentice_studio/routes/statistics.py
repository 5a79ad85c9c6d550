"""/api/stats: the dataset in numbers (spec 000 line 31), and how long success takes (line 78)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from apprentice_store.catalogue import Catalogue
from apprentice_studio.context import Context
from apprentice_studio.fields import WhereQuery
from apprentice_studio.times import by_driver

router = APIRouter(prefix="/api", tags=["statistics"])
HUMAN = ("EPISODE_ROBOT_TELEOPERATION", "EPISODE_ROBOT_DAGGER")


def table(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as in spec 000 section 4: teleoperation, each task, random_watcher, total. They overlap: a teleoperated episode has a task."""
    def row(name: str, chosen: list[dict[str, Any]]) -> dict[str, Any]:
        hours = sum(g["seconds"] for g in chosen) / 3600
        return {"name": name, "episodes": sum(g["episodes"] for g in chosen), "steps": sum(g["steps"] for g in chosen), "hours": hours}

    groups = [g for g in groups if g["kind"] == "episode"]
    watcher = [g for g in groups if g["source"] == "random_watcher"]
    on_task = [g for g in groups if g["source"] != "random_watcher"]
    tasks = [row(t, [g for g in on_task if g["task"] == t]) for t in sorted({g["task"] for g in on_task})]
    human = [g for g in groups if g["episode_type"] in HUMAN]
    return [row("teleoperation", human), *tasks, row("random_watcher", watcher), row("total", groups)]


def statistics(catalogue: Catalogue, where: str | None = None) -> dict[str, Any]:
    """Totals in the layout of section 4, and by task, type, source and kind; sketches by task and user; times to success."""
    groups = catalogue.totals(("task", "episode_type", "source", "kind"), where)
    return {
        "revision": catalogue.revision, "table": table(groups), "groups": groups, "sketches": catalogue.sketch_totals(where),
        "time_to_success": by_driver(catalogue, catalogue.episodes(f"({where}) and {_WON}" if where else _WON)),
    }


_WON = "success = true and kind = 'episode'"


@router.get("/stats")
def stats(studio: Context, query: WhereQuery = "") -> dict[str, Any]:
    """Of all episodes, or those of a filter."""
    return statistics(studio.store.catalogue, query.strip() or None)
