"""/api/session: what a page has to know when it opens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from apprentice_studio.context import Context
from apprentice_studio.fields import UserQuery
from apprentice_studio.times import SUCCESS_THRESHOLD

router = APIRouter(prefix="/api", tags=["session"])


@router.get("/session")
def session(studio: Context) -> dict[str, Any]:
    """Name of the data folder, whether a token is needed, who has worked here, and for which tasks."""
    return {
        "data_folder": studio.store.folder.resolve().name, "token_needed": studio.token_needed, "users": studio.sketches.users(),
        "tasks": sorted({str(g["task"]) for g in studio.store.catalogue.totals()}), "success_threshold": SUCCESS_THRESHOLD,
        "overlays": studio.overlay is not None,
    }


@router.get("/throughput")
def throughput(studio: Context, user: Annotated[UserQuery, Query()]) -> dict[str, float]:
    """How fast a person sketches in this run of the server (line 40); a pause of more than a minute does not count."""
    return studio.throughput.of(user)
