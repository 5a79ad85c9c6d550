"""What crosses the tick, as plain data: the messages of the spine without ROS (see docs/ARCHITECTURE.md, "The tick, as messages")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apprentice_core.assembler import Part
from apprentice_core.episode import EpisodeKind, Segment

EMPTY = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class TickPlan:
    """Tick.msg. Stamps are node time in nanoseconds; `missing` has one flag per part; `carried`: stream to message, serialised."""

    stamp: int
    deadline: int
    episode_id: str
    step_id: int
    step: int
    final: bool
    sources: tuple[str, ...]
    reward_sources: tuple[str, ...]
    segment: Segment
    parts: tuple[Part, ...]
    missing: tuple[bool, ...]
    carried: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def stale(self) -> tuple[str, ...]:
        return tuple(p.stream for p, gone in zip(self.parts, self.missing, strict=True) if gone)


@dataclass(frozen=True)
class Answer:
    """Action.msg. `received`, `inference_*` and `sent` are wall-clock nanoseconds."""

    step_id: int
    episode_id: str
    source: str
    values: np.ndarray
    noise: np.ndarray = field(default_factory=lambda: EMPTY)
    base: np.ndarray = field(default_factory=lambda: EMPTY)
    residual: np.ndarray = field(default_factory=lambda: EMPTY)
    action_space: str = ""
    action_space_hash: str = ""
    engaged: bool = False
    request_end: bool = False
    bundle_id: str = ""
    digest: str = ""
    fault: str = ""
    stamp: int = 0
    received: int = 0
    inference_start: int = 0
    inference_end: int = 0
    sent: int = 0


@dataclass(frozen=True)
class AppliedAnswer:
    """Applied.msg without its stages, which only the record needs. `stamp`: node time of the observation that follows."""

    step_id: int
    stamp: int
    outcome: str
    reason: str
    source: str
    mixed: np.ndarray
    executed: np.ndarray
    received: int = 0
    applied: int = 0


@dataclass(frozen=True)
class RewardAnswer:
    """Reward.msg: the named rewards of one transition."""

    step_id: int
    source: str
    values: Mapping[str, float]
    terminal: bool = False
    success: bool = False


@dataclass(frozen=True)
class StepData:
    """Step.msg: a tick joined with all that answered it."""

    tick: TickPlan
    actor: str
    intervention: bool
    answer: Answer | None
    wish: np.ndarray
    applied: AppliedAnswer
    discount: float

    @property
    def acquired(self) -> int:
        return max((p.stamp for p in self.tick.parts), default=self.tick.stamp)


@dataclass(frozen=True)
class EventData:
    """EpisodeEvent.msg."""

    event: str
    stamp: int
    episode_id: str
    kind: EpisodeKind
    task: str
    source: str
    reset_mode: str = "none"
    initial_state: str = ""
    seed: int | None = None
    continues: str = ""
    bundle_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    segment: Segment = Segment()
    parts: tuple[Part, ...] = ()
    steps: int = 0
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    success: int = -1
