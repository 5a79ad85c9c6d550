"""What goes into the ArmLoop and what comes out: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from apprentice_control.safety import StageRecord
from apprentice_core.spaces import ActionSpace

LoopState = Literal["running", "hold", "retreat", "stopped"]
Outcome = Literal["applied", "hold", "retreat", "stop"]


@dataclass(frozen=True)
class ArmCommand:
    """An answer to a tick: `values` normalised [-1, 1] in `space`; anything else in it is caught by the first stage."""

    step_id: int
    episode_id: str
    source: str
    space: ActionSpace
    values: object


@dataclass
class AppliedRecord:
    """What was done with an answer. `mixed`, `executed`: float32 [size of the space], normalised.

    `mixed` is the answer after the gate (a faulty one is the neutral action, and its raw numbers stand in the stage `nan`);
    `executed` what the arm was really set to do. `received` and `applied`: wall clock, ns. `stamp`: the backend's time, s.
    """

    step_id: int
    episode_id: str
    source: str
    outcome: Outcome
    reason: str
    mixed: np.ndarray
    executed: np.ndarray
    stages: list[StageRecord]
    received: int
    applied: int
    stamp: float


@dataclass(frozen=True)
class SafetyEvent:
    """A clamp, hold, retreat or stop; the codes are those of SafetyEvent.msg."""

    code: str
    stage: str
    outcome: Literal["clamped", "hold", "retreat", "stop"]
    step_id: int
    episode_id: str
    stamp: float
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    message: str = ""


@dataclass
class Counters:
    """Since start."""

    clamps: int = 0
    holds: int = 0
    retreats: int = 0
    stops: int = 0
    refused: int = 0
    """commands that were not newer than the last one"""


@dataclass(frozen=True)
class Pending:
    """A command, or a request to hold for one step, and the loop time at which it takes effect."""

    due: float
    received: int
    command: ArmCommand
    hold: str = ""


STAGE_CODES = {"nan": "nan", "cap": "cap", "workspace": "workspace", "rotation": "workspace", "force_soft": "force_soft", "ik": "ik",
               "joint_limit": "joint_limit"}
"""stage name to event code"""


@dataclass
class Outbox:
    """Safety events until someone takes them; the oldest go first when nobody does."""

    limit: int = 1000
    events: list[SafetyEvent] = field(default_factory=list)

    def put(self, event: SafetyEvent) -> None:
        self.events.append(event)
        if len(self.events) > self.limit:
            del self.events[0]

    def drain(self) -> list[SafetyEvent]:
        out, self.events = self.events, []
        return out
