"""Pictures of an episode (spec 000 lines 33 and 38): the bag's own bytes, by the frame numbers of the bag."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from apprentice_core.errors import BagError
from apprentice_core.images import encode_png
from apprentice_studio.context import Context
from apprentice_studio.fields import MAX_FRAMES, EpisodeId
from apprentice_studio.problems import NotFound
from apprentice_studio.thumbnails import viewable

router = APIRouter(prefix="/api/episodes/{episode_id}", tags=["frames"])
# A committed bag never changes, so a browser need not ask twice. Private: behind a token, no proxy may keep it.
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
Camera = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.get("/frames/{camera}/{step}.png")
def frame(
    studio: Context, episode_id: EpisodeId, camera: Camera, step: Annotated[int, Path(ge=0, lt=MAX_FRAMES)],
    view: Annotated[bool, Query(description="depth as 8-bit grey that a screen can show; colour as it is")] = False,
) -> Response:
    """Frame `step`: what action `step` answered; after the last action, the frame numbered `steps`."""
    frames = studio.bags.get(episode_id)
    if camera not in frames.cameras:
        raise NotFound(f"{episode_id} has no camera {camera}; it has: {', '.join(frames.cameras) or 'none'}")
    if step >= frames.frames:
        raise NotFound(f"{episode_id} has frames 0 to {frames.frames - 1}, not {step}")
    png = frames.png(camera, step)
    if view and frames.is_depth(camera):
        try:
            png = encode_png(viewable(png))
        except ValueError as error:
            raise BagError(f"{episode_id}: {camera}, frame {step}: {error}") from error
    return Response(png, media_type="image/png", headers=IMMUTABLE)
