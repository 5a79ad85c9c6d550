"""Base controllers (spec 001c sections 2 and 3.2): what a residual is learned on top of. Displacements in metres, frozen by a hash."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import Observation

GOAL = "position"
"""name in `segment.goal` of the commanded goal x*, m in the base frame"""


def goal_position(segment: Segment) -> np.ndarray:
    """The commanded goal, float64 [3]; ValueError when the segment has none."""
    goal = segment.goal.get(GOAL)
    if goal is None or np.shape(goal) != (3,):
        raise ValueError("the segment has no goal 'position' [3]; give it in EpisodeRequest.metadata['goal']")
    return np.asarray(goal, dtype=np.float64)


def tool_position(observation: Observation) -> np.ndarray:
    return np.asarray(observation["tool/pose"][:3], dtype=np.float64)


@dataclass
class BaseController(ABC):
    """A `Controller`: `step` is the displacement at an action of 1, m an axis; fields given to the constructor are its parameters.

    It is a deterministic function of what was observed since the episode began and of `segment.goal`. `code` goes up with each change of
    a class's behaviour: with the parameters it makes `version_hash`, which tells replay of residuals whether it still fits (A4).
    """

    step: float
    code: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.step > 0:
            raise ValueError(f"step must be above 0, not {self.step}")
        text = json.dumps([type(self).__name__, self.code, self.parameters()], sort_keys=True)
        self.version_hash = f"{type(self).__name__}/{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"

    def parameters(self) -> dict[str, object]:
        """Plain values by name; a part that is code itself (a model, a controller) stands with its own hash."""
        out: dict[str, object] = {}
        for f in fields(self):
            if f.init:
                value = getattr(self, f.name)
                inner = getattr(value, "version_hash", None) or getattr(value, "model_id", None)
                out[f.name] = inner or (np.asarray(value).tolist() if isinstance(value, np.ndarray | tuple) else value)
        return out

    def begin(self, context: EpisodeContext) -> None:  # noqa: B027 - most have nothing to forget
        """A new episode."""

    @abstractmethod
    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        """What it wants of the tool in this step, m, float64 [3]."""

    def action(self, observation: Observation, segment: Segment) -> np.ndarray:
        """float32 [3], normalised, each axis capped at a full step."""
        return np.clip(self.displacement(observation, segment) / self.step, -1.0, 1.0).astype(np.float32)
