"""The cell (contract 1): a thing on which episodes run, simulated in this process or reached over ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from apprentice_core.config import Timing
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, ArraySpec, Observation

ResetMode = Literal["none", "robot", "scene", "full", "operator"]


@dataclass(frozen=True)
class StreamSpec:
    """One message stream of the observation: where it comes from and which arrays it gives (see streams.py)."""

    name: str
    topic: str
    type: str
    arrays: tuple[ArraySpec, ...]
    max_age: float = 0.2


@dataclass(frozen=True)
class CellSpec:
    """What a policy may rely on. `privileged` names travel on a channel of their own."""

    name: str
    robot: str
    task: str
    streams: tuple[StreamSpec, ...]
    privileged: tuple[ArraySpec, ...]
    action_space: ActionSpace
    timing: Timing
    base_frame: str
    tool_frame: str
    capabilities: frozenset[str] = frozenset()

    @property
    def observation(self) -> tuple[ArraySpec, ...]:
        return tuple(a for s in self.streams for a in s.arrays)


OPERATOR_NEEDED = "operator needed: "
"""how the reason of a reset begins that no further try can better: a loop on the job pauses and calls for a person (spec 001c B28)"""


@dataclass(frozen=True)
class ResetRequest:
    """What is put back before an episode, and to where."""

    mode: ResetMode = "full"
    initial_state: str = ""
    """a named start '<set>/<name>', which wins over the seed; or '<set>': one of its starts, drawn and varied by the seed"""
    seed: int | None = None


@dataclass(frozen=True)
class ResetResult:
    """What a reset came to: `duration` in s, `reason` where it is not `ok`."""

    ok: bool
    tries: int = 1
    duration: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class EpisodeRequest:
    """One episode. `source` names who drives (RosCell) and is resolved to an ActionSource object in SimCell."""

    task: str
    source: str
    reset: ResetRequest = ResetRequest()
    steps: int = 0
    """0: the task's horizon"""
    end_on_success: bool = False
    record: bool = True
    continues: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeRef:
    """What became of an episode; `lost` counts observations that its steps name and its bag does not hold."""

    episode_id: str
    path: str
    steps: int
    success: bool
    terminated: bool
    truncated: bool
    reason: str
    lost: int = 0


@dataclass(frozen=True)
class StepResult:
    """As Gymnasium's, with named rewards; `executed` is the normalised action after the safety chain."""

    observation: Observation
    rewards: dict[str, float]
    terminated: bool
    truncated: bool
    reason: str
    executed: np.ndarray
    privileged: dict[str, np.ndarray]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceAction:
    """An answer of an action source: normalised values before its own noise, and that noise."""

    values: np.ndarray
    noise: np.ndarray | None = None
    fault: str = ""
    request_end: bool = False


@runtime_checkable
class ActionSource(Protocol):
    """Who drives: PolicyRunner, a script, a person. `privileged` is None for every source that does not declare it."""

    name: str
    needs_privileged: bool
    bundle_id: str

    def reset(self, context: EpisodeContext) -> None: ...

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction: ...

    def observe(self, observation: Observation, executed: np.ndarray) -> None: ...


@runtime_checkable
class Controller(Protocol):
    """A base controller for residual learning: a fixed, deterministic function of the observation."""

    version_hash: str

    def action(self, observation: Observation, segment: Segment) -> np.ndarray: ...


@runtime_checkable
class EpisodeSink(Protocol):
    """Takes an episode as it runs in this process (SimCell); the store provides one that writes bags."""

    def start(self, context: EpisodeContext, spec: CellSpec) -> None: ...

    def step(self, observation: Observation, record: Any, stamp: float) -> None: ...

    def end(self, observation: Observation, outcome: Any, stamp: float) -> str: ...


@runtime_checkable
class Cell(Protocol):
    """Contract 1: a thing on which episodes run. `run` is what every loop is written on; `step` serves learners in this process."""

    spec: CellSpec

    def reset(self, request: ResetRequest) -> ResetResult: ...

    def run(self, request: EpisodeRequest) -> EpisodeRef: ...

    def step(self, action: np.ndarray) -> StepResult: ...

    def observe(self) -> Observation: ...

    def close(self) -> None: ...
