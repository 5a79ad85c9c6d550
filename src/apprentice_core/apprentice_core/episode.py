"""Episode, segment and step (contract 3) as plain data; the bag layout is the store's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ulid import ULID

from apprentice_core.spaces import Observation

EpisodeKind = Literal["episode", "reset"]


def new_episode_id() -> str:
    """A ULID: sortable by start time, unique over hosts."""
    return str(ULID())


@dataclass(frozen=True)
class Segment:
    """What is pursued over a stretch of steps; `goal` appears to the policy under goal/<name>."""

    index: int = 0
    task: str = ""
    mode: Literal["policy", "recovery", "reset"] = "policy"
    direction: str = ""
    scheduler: str = ""
    scheduler_version: str = ""
    provenance: str = ""
    goal: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeContext:
    """What a source or scheduler learns at the start of an episode."""

    episode_id: str
    task: str
    kind: EpisodeKind = "episode"
    seed: int | None = None
    source: str = ""
    initial_state: str = ""
    horizon: int = 200
    deterministic: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeOutcome:
    terminated: bool
    truncated: bool
    reason: str
    success: bool | None = None


ACTION_KINDS = ("source", "base", "residual", "noise", "mixed", "executed")


@dataclass
class Episode:
    """One committed episode as arrays, rebuilt from its bag.

    T steps and T + 1 observations (the last is the observation after the last action).
    observations[name]: [T+1, ...]; actions[kind]: float32 [T, A] for each of ACTION_KINDS; discount: float32 [T];
    rewards["source/name"]: float32 [T] (reward of the transition t -> t+1, NaN where none was given);
    privileged[name]: float32 [T+1, ...]; stamps[name]: int64 nanoseconds [T] (acquired, received, inference_start,
    inference_end, sent, applied) and stamps["tick"]: [T+1].
    """

    episode_id: str
    path: str
    meta: dict[str, Any]
    observations: dict[str, np.ndarray]
    actions: dict[str, np.ndarray]
    discount: np.ndarray
    rewards: dict[str, np.ndarray]
    privileged: dict[str, np.ndarray]
    actors: list[str]
    outcomes: list[str]
    segments: list[Segment]
    segment_index: np.ndarray
    digests: list[str]
    stamps: dict[str, np.ndarray]
    outcome: EpisodeOutcome

    def __len__(self) -> int:
        return len(self.discount)

    def observation_at(self, t: int, names: tuple[str, ...] | None = None) -> Observation:
        return {n: self.observations[n][t] for n in (names or tuple(self.observations))}
