"""Schedulers (contract 5): what is pursued next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from apprentice_core.episode import EpisodeContext, EpisodeOutcome, Segment
from apprentice_core.spaces import Observation


@runtime_checkable
class Scheduler(Protocol):
    """`next` gives a new segment when one is due, None to go on with the current one."""

    version: str

    def begin(self, context: EpisodeContext) -> Segment: ...

    def next(self, observation: Observation, rewards: Mapping[str, float]) -> Segment | None: ...

    def end(self, outcome: EpisodeOutcome) -> None: ...

    @property
    def state(self) -> dict[str, Any]: ...


class SingleTask:
    """One segment for the whole episode: the task itself."""

    version = "single_task/1"

    def __init__(self) -> None:
        self.episodes = 0

    def begin(self, context: EpisodeContext) -> Segment:
        mode: Literal["reset", "policy"] = "reset" if context.kind == "reset" else "policy"
        return Segment(task=context.task, mode=mode, scheduler="single_task", scheduler_version=self.version)

    def next(self, observation: Observation, rewards: Mapping[str, float]) -> Segment | None:
        return None

    def end(self, outcome: EpisodeOutcome) -> None:
        self.episodes += 1

    @property
    def state(self) -> dict[str, Any]:
        return {"episodes": self.episodes}
