"""Episode, segment and step (contract 3) as plain data; the bag layout is the store's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    """How an episode ended; `success` is None where nobody judged."""

    terminated: bool
    truncated: bool
    reason: str
    success: bool | None = None


ACTION_KINDS = ("source", "base", "residual", "noise", "mixed", "executed")


class Stage(Protocol):
    """What one stage of the safety chain did (Stage.msg): SI units of the action space, joint stages in radians."""

    @property
    def name(self) -> str: ...

    @property
    def before(self) -> Sequence[float]: ...

    @property
    def after(self) -> Sequence[float]: ...

    @property
    def changed(self) -> bool: ...

    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class StepRecord:
    """One control step as the in-process cell hands it to an EpisodeSink, after the step has run (Step.msg, Applied.msg, Reward.msg).

    The observation beside it is the one that the step answered, acquired at `stamp` (seconds, node time = simulated time).
    actions: float32 [A] for each of ACTION_KINDS (base, residual and noise are zeros where nobody gave one).
    rewards["source/name"]: the reward of the transition from this observation to the next.
    privileged: at this observation; next_privileged: at the next one (object/<name>/pose [7], object/<name>/twist [6], float32).
    Wall-clock stamps (received ... applied) are nanoseconds since the epoch; digest is over the arrays that were acted on.
    """

    step_id: int
    step: int
    stamp: float
    segment: Segment
    actor: str
    actions: Mapping[str, np.ndarray]
    action_space: str
    action_space_hash: str
    discount: float
    rewards: Mapping[str, RewardValue]
    outcome: str
    reason: str
    privileged: Mapping[str, np.ndarray]
    next_privileged: Mapping[str, np.ndarray]
    stages: Sequence[Stage] = ()
    intervention: bool = False
    bundle_id: str = ""
    digest: str = ""
    fault: str = ""
    received: int = 0
    inference_start: int = 0
    inference_end: int = 0
    sent: int = 0
    applied: int = 0


@dataclass(frozen=True)
class RewardValue:
    """One named reward of one transition; probability is NaN where the source has none."""

    value: float
    probability: float = float("nan")
    valid: bool = True
    terminal: bool = False
    success: bool = False
    model_id: str = ""


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
