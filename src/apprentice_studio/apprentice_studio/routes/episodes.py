"""/api/episodes: what the store holds (spec 000 lines 26-28)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from apprentice_store.catalogue import Annotation, EpisodeRow
from apprentice_store.evaluations import Evaluations
from apprentice_studio.context import Context, Studio
from apprentice_studio.fields import Body, EpisodeId, Name, User, WhereQuery

router = APIRouter(prefix="/api/episodes", tags=["episodes"])
PAGE = 50


class TagBody(Body):
    """A label set or taken away."""

    name: Name
    present: bool = True
    user: User


class HiddenBody(Body):
    """An episode left out of lists and new manifests, or taken in again."""

    hidden: bool
    user: User


def as_json(studio: Studio, rows: Sequence[EpisodeRow]) -> list[dict[str, Any]]:
    """Rows as the lists show them; their tags and sketched tasks come in one query each."""
    ids = [r.episode_id for r in rows]
    tags, sketched = studio.store.catalogue.tags_of_many(ids), studio.sketches.sketched(ids)
    return [
        {
            "episode_id": r.episode_id, "task": r.task, "source": r.source, "kind": r.kind, "episode_type": r.episode_type,
            "steps": r.steps, "success": r.success, "tags": tags.get(r.episode_id, []), "started": r.started, "duration": r.duration,
            "reason": r.reason, "sketched": sketched.get(r.episode_id, []),
        }
        for r in rows
    ]


@router.get("")
def listing(
    studio: Context, query: WhereQuery = "", offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> dict[str, Any]:
    """One page, newest first."""
    catalogue = studio.store.catalogue
    rows = catalogue.episodes(query or None, limit, newest_first=True, offset=offset)
    return {"total": catalogue.count(query or None), "revision": catalogue.revision, "episodes": as_json(studio, rows)}


@router.get("/{episode_id}")
def details(studio: Context, episode_id: EpisodeId) -> dict[str, Any]:
    """One episode: its row, its cameras, who acted when, and what was said about it."""
    row = studio.row(episode_id)
    frames = studio.bags.get(episode_id)
    steps = frames.reader.steps
    return {
        **as_json(studio, [row])[0],
        "cell": row.cell, "robot": row.robot,
        "bundle_id": None if Evaluations(studio.store.catalogue).hides(episode_id) else row.bundle_id,
        "initial_state": row.initial_state, "seed": row.seed,
        "continues": row.continues, "terminated": row.terminated, "truncated": row.truncated, "lost": row.lost,
        "control_period": frames.reader.spec.timing.control_period, "frames": frames.frames,
        "cameras": {n: {"height": h, "width": w, "depth": frames.is_depth(n)} for n, (h, w) in frames.cameras.items()},
        "actors": [s.actor for s in steps], "interventions": [t for t, s in enumerate(steps) if s.intervention],
        "segments": segments([s.actor for s in steps]),
        "trim": studio.store.catalogue.trims().get(episode_id),
        "annotations": [annotation(a) for a in studio.store.catalogue.annotations(episode_id)],
        "metadata": json.loads(row.metadata_json),
    }


def segments(actors: Sequence[str]) -> list[dict[str, Any]]:
    """Runs of steps with one actor: {actor, first, last}, both included."""
    out: list[dict[str, Any]] = []
    for t, actor in enumerate(actors):
        if out and out[-1]["actor"] == actor:
            out[-1]["last"] = t
        else:
            out.append({"actor": actor, "first": t, "last": t})
    return out


def annotation(a: Annotation) -> dict[str, Any]:
    """As JSON; `created` in nanoseconds since the epoch."""
    return {"revision": a.revision, "kind": a.kind, "name": a.name, "value": a.value, "author": a.author, "created": a.created}


@router.post("/{episode_id}/tags")
def tag(studio: Context, episode_id: EpisodeId, body: TagBody) -> dict[str, Any]:
    """Sets or takes away a label (line 28)."""
    studio.row(episode_id)
    revision = studio.store.tag(episode_id, body.name, body.present, body.user)
    return {"revision": revision, "tags": studio.store.catalogue.tags_of_many([episode_id]).get(episode_id, [])}


@router.post("/{episode_id}/hidden")
def hide(studio: Context, episode_id: EpisodeId, body: HiddenBody) -> dict[str, Any]:
    """Leaves an episode out, or takes it in again; nothing is deleted."""
    studio.row(episode_id)
    return {"revision": studio.store.hide(episode_id, body.hidden, body.user), "hidden": body.hidden}
