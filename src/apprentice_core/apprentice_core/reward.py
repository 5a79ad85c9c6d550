"""Reward sources (contract 4): one class serves the reward node, relabelling and the sampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from apprentice_core.episode import RewardValue


@dataclass(frozen=True)
class RewardBatch:
    """N transitions. observation and next_observation: name -> [N, ...]; action: executed, [N, A]; step: [N].

    `first` is the episode's first observation (name -> [N, ...]); `privileged` and `next_privileged` are given only to
    sources that declare `needs_privileged`; `first_privileged` likewise.
    """

    observation: Mapping[str, np.ndarray]
    action: np.ndarray
    next_observation: Mapping[str, np.ndarray]
    step: np.ndarray
    length: np.ndarray
    goal: Mapping[str, np.ndarray] = field(default_factory=dict)
    first: Mapping[str, np.ndarray] = field(default_factory=dict)
    privileged: Mapping[str, np.ndarray] = field(default_factory=dict)
    next_privileged: Mapping[str, np.ndarray] = field(default_factory=dict)
    first_privileged: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RewardResult:
    """Each array [N]; probability is NaN where the source has none."""

    value: np.ndarray
    probability: np.ndarray
    valid: np.ndarray
    terminal: np.ndarray
    success: np.ndarray


@runtime_checkable
class RewardSource(Protocol):
    """Contract 4: names its rewards and says where each is valid and terminal."""

    name: str
    model_id: str
    needs_privileged: bool

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]: ...


def reward_values(source: RewardSource, batch: RewardBatch) -> dict[str, RewardValue]:
    """'<source>/<reward>' -> what the source says of a batch's first step, as episodes record it."""
    return {
        f"{source.name}/{name}": RewardValue(
            float(r.value[0]), float(r.probability[0]), bool(r.valid[0]), bool(r.terminal[0]), bool(r.success[0]), source.model_id
        )
        for name, r in source.compute_reward(batch).items()
    }
