"""What arm_node and its control loop tell each other: plain data, the same in one process (lockstep) and across two (realtime)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apprentice_control.arm_command import AppliedRecord, SafetyEvent, StageRecord
from apprentice_control.state_sample import ArmSample, SceneSample

# -- to the loop


@dataclass(frozen=True)
class ArmOrder:
    """The answer to a tick: `values` normalised in the space that bears this name and hash; None: hold, for `reason`."""

    step_id: int
    episode_id: str
    source: str
    space: str
    space_hash: str
    values: Any
    reason: str = ""


@dataclass(frozen=True)
class EstopOrder:
    """`estop/request`."""

    reason: str
    requested_by: str


@dataclass(frozen=True)
class Call:
    """A service: `reset_estop`, `tare` or `reset_scene`; answered by a CallResult of the same number."""

    number: int
    name: str
    arguments: tuple[Any, ...]


# -- from the loop


@dataclass(frozen=True)
class ArmFacts:
    """What does not change: the backend's capabilities, its movable objects' names, and its period in s."""

    capabilities: tuple[str, ...]
    objects: tuple[str, ...]
    period: float


@dataclass(frozen=True)
class ArmStatus:
    """The loop and the e-stop latch now; `estop_stamp`: wall clock, s; `scheduling`: what the loop runs under."""

    state: str
    reason: str
    clamps: int
    holds: int
    stops: int
    latched: bool
    estop_reason: str
    estop_by: str
    estop_stamp: float
    scheduling: str


@dataclass(frozen=True)
class Cycles:
    """Of the cycles since the last such message: body time in s, and whether it ended late; `skipped` since the start."""

    durations: tuple[float, ...]
    late: tuple[bool, ...]
    skipped: int


@dataclass(frozen=True)
class LoopEvent:
    """`stamp`: node time, ns."""

    event: SafetyEvent
    stamp: int


@dataclass(frozen=True)
class CallResult:
    """`error`: '' or why it was refused."""

    number: int
    error: str
    value: str


@dataclass(frozen=True)
class Failed:
    """The loop's last words."""

    message: str


TYPES = (
    ArmOrder, EstopOrder, Call, ArmFacts, ArmStatus, Cycles, LoopEvent, CallResult, Failed, ArmSample, SceneSample, AppliedRecord,
    StageRecord, SafetyEvent,
)
