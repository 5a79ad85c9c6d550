"""Types of what a request may hold: everything is bounded, names are plain text, ids are ULIDs before any path is made of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path as PathField
from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_FRAMES = 200_001
"""frames of a curve: one more than the steps that a bag may hold"""
_ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
ULID = f"^{_ULID}$"
MAX_IDS = 50
"""episodes of one request (ours): a page"""
TASK = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$"


def printable(text: str) -> str:
    """ValueError for text with control characters."""
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


EpisodeId = Annotated[str, PathField(pattern=ULID, description="ULID of an episode")]
EpisodeIds = Annotated[str, Query(pattern=f"^{_ULID}(,{_ULID}){{0,{MAX_IDS - 1}}}$", description="ULIDs of episodes, joined by commas")]
Ulid = Annotated[str, StringConstraints(pattern=ULID)]
Task = Annotated[str, StringConstraints(pattern=TASK)]
User = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(printable)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(printable)]
Note = Annotated[str, StringConstraints(max_length=4000)]
Where = Annotated[str, StringConstraints(max_length=10_000)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
TaskQuery = Annotated[str, Query(pattern=TASK, description="task id")]
UserQuery = Annotated[str, Query(min_length=1, max_length=200), AfterValidator(printable)]
WhereQuery = Annotated[str, Query(max_length=10_000, description="the store's filter; see apprentice_store.query")]


class Body(BaseModel):
    """A request body: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid")
