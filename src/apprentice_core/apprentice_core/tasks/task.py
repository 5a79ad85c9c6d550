"""What a task knows about reward and success: pure functions of privileged arrays, batched over N transitions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apprentice_core.config import TaskConfig
from apprentice_core.errors import ConfigError

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TaskState:
    """N states. observation: name -> [N, ...] (only proprioception is read); privileged and first: object/<name>/pose [N, 7],
    object/<name>/twist [N, 6], in metres, xyzw, m/s; `first` is the privileged state at the start of each episode."""

    observation: Arrays
    privileged: Arrays
    first: Arrays


class Task(ABC):
    """A task of spec 000 line 1: `sparse` is 1 in a successful state and 0 elsewhere, `shaped` grows to 1 with progress."""

    success_defaults: Mapping[str, float] = {}

    def __init__(self, config: TaskConfig):
        self.config = config
        unknown = sorted(set(config.success) - set(self.success_defaults))
        if unknown:
            raise ConfigError(config.name, f"success.{unknown[0]}", f"unknown; known: {', '.join(self.success_defaults)}")
        self.limits = {**self.success_defaults, **config.success}

    @property
    def objects(self) -> tuple[str, ...]:
        """Movable objects that the task reads."""
        return (self.config.target,)

    @abstractmethod
    def success(self, state: TaskState) -> np.ndarray:
        """Whether each state is one of success, bool [N]."""

    @abstractmethod
    def shaped(self, state: TaskState) -> np.ndarray:
        """float64 [N] in [0, 1], 1 where and only where `success` holds."""

    def terms(self, state: TaskState) -> dict[str, np.ndarray]:
        """Further rewards by name, float64 [N] each: the parts of a sum that are judged apart (spec 001c checklist A13)."""
        return {}

    def sparse(self, state: TaskState) -> np.ndarray:
        return self.success(state).astype(np.float64)


def pose(arrays: Arrays, name: str) -> np.ndarray:
    """float64 [N, 7]; KeyError naming the array when it is absent."""
    return np.asarray(arrays[f"object/{name}/pose"], dtype=np.float64)


def speed(arrays: Arrays, name: str) -> np.ndarray:
    """|linear velocity| in m/s, [N]."""
    return np.linalg.norm(np.asarray(arrays[f"object/{name}/twist"], dtype=np.float64)[:, :3], axis=1)


def nearness(distance: np.ndarray, scale: float) -> np.ndarray:
    """1 at distance 0, 0.24 at `scale`, falling to 0 far away."""
    return 1.0 - np.tanh(distance / scale)
