"""/api/thumbnails: small pictures of many episodes in one answer, since fifty answers cost more than fifty pictures."""

from __future__ import annotations

import base64
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from apprentice_core.errors import ApprenticeError
from apprentice_studio.context import Context
from apprentice_studio.fields import EpisodeIds

router = APIRouter(prefix="/api/thumbnails", tags=["frames"])
PATIENCE = 0.1
"""seconds until an answer leaves with what is drawn until then (ours): one large bag must not hold back the pictures of the others"""
WHOLE = {"Cache-Control": "private, max-age=3600"}


@router.get("")
def thumbnails(studio: Context, ids: EpisodeIds) -> JSONResponse:
    """{episode id: its picture as a data: address}, null where there is none; whoever is not named has to be asked for again.

    The middle frame of the first colour camera. Those that were drawn before all come; of the others at least one.
    """
    wanted, begun = list(dict.fromkeys(ids.split(","))), time.monotonic()
    found = {i: png for i in wanted if (png := studio.thumbnails.kept(i)) is not None}
    out: dict[str, str | None] = {i: _address(png) for i, png in found.items()}
    for i in wanted:
        if i in found or (len(out) > len(found) and time.monotonic() - begun > PATIENCE):
            continue
        try:
            out[i] = _address(studio.thumbnails.make(i))
        except ApprenticeError:
            # The list shows all the same; whoever opens the episode is told why.
            out[i] = None
    whole = len(out) == len(wanted) and None not in out.values()
    return JSONResponse({"thumbnails": out}, headers=WHOLE if whole else None)


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
