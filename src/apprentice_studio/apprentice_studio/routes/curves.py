"""SketchBook: shown, kept while they are drawn, and saved (spec 000 section 2.6, lines 34-37 and 41)."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from apprentice_core.errors import ApprenticeError
from apprentice_store.catalogue import SKETCH
from apprentice_store.predictions import KIND as PREDICTED
from apprentice_store.sketch_book import Curve, Draft, Newer
from apprentice_studio.context import Context, Studio
from apprentice_studio.fields import MAX_FRAMES, Body, EpisodeId, Task, TaskQuery, Unit, User, UserQuery
from apprentice_studio.problems import Conflict, Unprocessable

log = logging.getLogger(__name__)
router = APIRouter(prefix="/api/episodes/{episode_id}", tags=["sketches"])


def _ordered(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    for first, last in ranges:
        if not 0 <= first <= last:
            raise ValueError(f"[{first}, {last}] is no range of frames")
    return ranges


Version = Annotated[int, Field(ge=0, le=1 << 53)]


class DraftBody(Body):
    """A curve as far as it is drawn; null where nothing is."""

    task: Task
    user: User
    values: Annotated[list[Unit | None], Field(max_length=MAX_FRAMES)]
    version: Version = Field(description="of the draft that this one follows; 0 starts anew")


class SketchBody(Body):
    """A finished curve."""

    task: Task
    user: User
    values: Annotated[list[Unit], Field(max_length=MAX_FRAMES)]
    filled: Annotated[list[tuple[int, int]], Field(max_length=MAX_FRAMES), AfterValidator(_ordered)] = Field(
        default_factory=list, description="frames first..last that were interpolated, not drawn"
    )
    base: Version = Field(description="revision of the user's sketch that this one was drawn over; 0: none")


def numbers(values: np.ndarray) -> list[float | None]:
    """JSON knows no NaN: null stands for it."""
    return [None if v != v else v for v in values.tolist()]


def curve_json(curve: Curve) -> dict[str, Any]:
    sketch = curve.type == SKETCH
    return {
        "sequence_id": curve.sequence_id, "kind": "sketch" if sketch else "model", "user": curve.user if sketch else "",
        "model_id": "" if sketch else curve.user, "revision": curve.revision, "values": numbers(curve.values),
    }


def draft_json(draft: Draft) -> dict[str, Any]:
    return {"version": draft.version, "values": numbers(draft.values)}


def predicted(studio: Studio, episode_id: str, task: str) -> list[Curve]:
    """What models said of the episode (line 70): the mean of an ensemble. A file that is gone or damaged is left out, and logged."""
    out = []
    for p in studio.predictions.of_episode(episode_id, task):
        try:
            out.append(Curve(episode_id, "", PREDICTED, p.model_id, p.revision, studio.predictions.read(p).mean(axis=1)))
        except ApprenticeError as error:
            log.warning("%s", error)
    return out


def _frames(studio: Studio, episode_id: str, given: int) -> int:
    # The row knows; the bag need not be opened (or be whole) to keep what somebody drew.
    frames = studio.row(episode_id).steps + 1
    if given != frames:
        raise Unprocessable(f"values: {given} given, {episode_id} has {frames} frames (one more than its steps)")
    return frames


@router.get("/curves")
def curves(
    studio: Context, episode_id: EpisodeId, task: TaskQuery, user: Annotated[UserQuery | None, Query()] = None
) -> dict[str, Any]:
    """The newest sketch of each user, the newest prediction of each model, and the draft of `user`."""
    row = studio.row(episode_id)
    found = studio.sketches.curves(episode_id, task) + predicted(studio, episode_id, task)
    draft, version = studio.sketches.draft(episode_id, task, user) if user is not None else (None, 0)
    if user is not None:
        studio.throughput.seen(user)
    return {
        "steps": row.steps, "frames": row.steps + 1, "curves": [curve_json(c) for c in found],
        "draft": None if draft is None else draft_json(draft), "draft_version": version,
    }


@router.put("/draft")
def save_draft(studio: Context, episode_id: EpisodeId, body: DraftBody) -> dict[str, Any]:
    """Keeps a curve while it is drawn; it is on the disk when this answers."""
    _frames(studio, episode_id, len(body.values))
    values = np.array([np.nan if v is None else v for v in body.values], np.float32)
    studio.throughput.seen(body.user)
    try:
        version = studio.sketches.save_draft(episode_id, body.task, body.user, values, body.version)
    except Newer as error:
        assert isinstance(error.stored, Draft)
        raise Conflict(str(error), stored=draft_json(error.stored)) from error
    return {"version": version}


@router.put("/sketch")
def save_sketch(studio: Context, episode_id: EpisodeId, body: SketchBody) -> dict[str, Any]:
    """Adds a sketch; those before it stay. The same one submitted twice is one."""
    frames = _frames(studio, episode_id, len(body.values))
    if any(last >= frames for _, last in body.filled):
        raise Unprocessable(f"filled: {episode_id} has frames 0 to {frames - 1}")
    values = np.array(body.values, np.float32)
    try:
        saved, new = studio.sketches.save(episode_id, body.task, body.user, values, body.base, body.filled)
    except Newer as error:
        assert isinstance(error.stored, Curve)
        raise Conflict(str(error), stored=curve_json(error.stored)) from error
    studio.throughput.seen(body.user, frames if new else 0)
    return {"sequence_id": saved.sequence_id, "revision": saved.revision, "new": new}


@router.delete("/draft")
def discard_draft(
    studio: Context, episode_id: EpisodeId, task: TaskQuery, user: Annotated[UserQuery, Query()]
) -> dict[str, Any]:
    """Drops a draft that its user does not want; saved sketches stay."""
    studio.row(episode_id)
    studio.sketches.discard_draft(episode_id, task, user)
    return {"draft": None}
