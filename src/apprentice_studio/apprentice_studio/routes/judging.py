"""What a person says about one episode, during or after it (spec 000 section 2.13): annotations, the recording stays."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator

from apprentice_store.reward_overrides import KIND
from apprentice_studio.context import Context
from apprentice_studio.fields import MAX_FRAMES, Body, EpisodeId, Note, User
from apprentice_studio.problems import Unprocessable
from apprentice_studio.routes.episodes import annotation

router = APIRouter(prefix="/api/episodes/{episode_id}", tags=["judging"])
MAX_REWARD = 1e6
"""magnitude of an overriding reward (ours)"""
Step = Annotated[int, Field(ge=0, lt=MAX_FRAMES)]


class RewardOverride(Body):
    """One value for the steps first..last, both included, in place of what was recorded or predicted; null takes back what was said.

    How training reads it: apprentice_store.reward_overrides.
    """

    value: Annotated[float, Field(ge=-MAX_REWARD, le=MAX_REWARD, allow_inf_nan=False)] | None
    first: Step
    last: Step

    @model_validator(mode="after")
    def _ordered(self) -> RewardOverride:
        if self.first > self.last:
            raise ValueError("first comes after last")
        return self


class JudgementBody(Body):
    """What is left out (null, '') is not said. `clear_success` takes a judgement back: nobody knows."""

    success: bool | None = None
    clear_success: bool = False
    reward: RewardOverride | None = None
    note: Note = ""
    user: User

    @model_validator(mode="after")
    def _says_something(self) -> JudgementBody:
        if self.success is not None and self.clear_success:
            raise ValueError("success and clear_success contradict each other")
        if self.success is None and not self.clear_success and self.reward is None and not self.note.strip():
            raise ValueError("says nothing: give success, reward or note")
        return self


@router.post("/judgement")
def judge(studio: Context, episode_id: EpisodeId, body: JudgementBody) -> dict[str, Any]:
    """Appends success, reward override and note, all or none."""
    row, catalogue = studio.row(episode_id), studio.store.catalogue
    if body.reward is not None and body.reward.last >= row.steps:
        raise Unprocessable(f"reward: {episode_id} has steps 0 to {row.steps - 1}")
    with catalogue.transaction(writes=True) as c:
        if body.success is not None or body.clear_success:
            catalogue.judge_success(c, episode_id, body.success, body.user)
        if body.reward is not None:
            catalogue.insert_annotation(c, episode_id, KIND, row.task, body.reward.model_dump(), body.user)
        if body.note.strip():
            catalogue.insert_annotation(c, episode_id, "note", "", body.note, body.user)
    judged = studio.row(episode_id)
    return {"success": judged.success, "annotations": [annotation(a) for a in catalogue.annotations(episode_id)]}
