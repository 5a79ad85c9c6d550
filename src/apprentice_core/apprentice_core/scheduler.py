"""Schedulers (contract 5): what is pursued next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

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


MAX_TURN = 1.0
"""rad of a start's rotation about an axis; more is refused (ours)"""
MAX_GOALS, MAX_GOAL = 8, 1024
"""arrays of a goal, and numbers in one; more is refused (ours)"""


def goal_of(metadata: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """metadata["goal"], {name: numbers}, as float32 arrays; it may come from a stranger, so ValueError says what is wrong with it."""
    goal = metadata.get("goal", {})
    if not isinstance(goal, Mapping) or len(goal) > MAX_GOALS:
        raise ValueError(f"goal must be an object of at most {MAX_GOALS} arrays")
    out = {}
    for name, values in goal.items():
        try:
            with np.errstate(over="ignore"):  # too large becomes infinity, which is refused
                array = np.asarray(values, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            array = np.zeros(0, dtype=np.float32)
        if array.ndim != 1 or not 0 < array.size <= MAX_GOAL or not np.isfinite(array).all():
            raise ValueError(f"goal.{name} must be a list of 1 to {MAX_GOAL} finite numbers")
        out[str(name)] = array
    return out


def start_of(metadata: Mapping[str, Any]) -> np.ndarray | None:
    """metadata["start"]["tool"], where the tool stands when the episode begins: float64 [3] m in the base frame, None where not given.

    ValueError says what is wrong with it.
    """
    start = metadata.get("start")
    if start is None:
        return None
    try:
        tool = np.asarray(start["tool"], dtype=np.float64)
    except (TypeError, KeyError, ValueError, OverflowError):
        tool = np.zeros(0)
    if tool.shape != (3,) or not np.isfinite(tool).all():
        raise ValueError("start.tool must be a list of 3 finite numbers")
    return tool


def start_turn_of(metadata: Mapping[str, Any]) -> np.ndarray:
    """metadata["start"]["turn"], the tool's rotation vector from the home orientation when the episode begins: float64 [3] rad, base axes,
    zeros where not given. ValueError says what is wrong with it."""
    start = metadata.get("start")
    given = start.get("turn") if isinstance(start, Mapping) else None
    if given is None:
        return np.zeros(3)
    try:
        turn = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        turn = np.zeros(0)
    if turn.shape != (3,) or not (np.abs(turn) <= MAX_TURN).all():
        raise ValueError(f"start.turn must be a list of 3 numbers of at most {MAX_TURN} rad")
    return turn


def start_pose_of(metadata: Mapping[str, Any]) -> np.ndarray | None:
    """Both as one: float64 [6], position and rotation vector; None where no start is given."""
    tool = start_of(metadata)
    return None if tool is None else np.concatenate([tool, start_turn_of(metadata)])


class SingleTask:
    """One segment for the whole episode: the task itself, with the goal that the episode's metadata names (`goal_of`), if any."""

    version = "single_task/1"

    def __init__(self) -> None:
        self.episodes = 0

    def begin(self, context: EpisodeContext) -> Segment:
        mode: Literal["reset", "policy"] = "reset" if context.kind == "reset" else "policy"
        goal = goal_of(context.metadata)
        provenance = str(context.metadata.get("goal_provenance", "metadata")) if goal else ""
        return Segment(
            task=context.task, mode=mode, scheduler="single_task", scheduler_version=self.version, provenance=provenance, goal=goal
        )

    def next(self, observation: Observation, rewards: Mapping[str, float]) -> Segment | None:
        return None

    def end(self, outcome: EpisodeOutcome) -> None:
        self.episodes += 1

    @property
    def state(self) -> dict[str, Any]:
        return {"episodes": self.episodes}
