"""Training data as columns: what the store's replay cache gives, and the same from episodes in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from apprentice_core.episode import Episode
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.vector_input import GOAL

REWARD_PREFIX = "reward/"
ACTION_PREFIX = "action/"
DISCOUNT = "discount"

def reduced_name(camera: str, reduction: int) -> str:
    """Column of a camera's frames after the box filter; the recorded ones keep the camera's own name."""
    return f"derived/box{reduction}/{camera}" if reduction > 1 else camera


@dataclass(frozen=True)
class EpisodeInfo:
    """What a view selects by. `cut`: its end was trimmed away, so its last step is a time-out, whatever the episode came to. `reason`: why
    it ended."""

    episode_id: str
    source: str
    task: str
    success: bool | None
    terminated: bool
    cut: bool = False
    reason: str = ""


class Columns(Protocol):
    """Episodes laid end to end. An episode of T steps takes T + 1 rows, one an observation, the last after the last action.

    `columns`: observation arrays by their names, `goal/<name>` of the segments, `action/<kind>` float32 [A], `reward/<source>/<name>`
    float32 (NaN where none was given) and `discount` float32; what belongs to steps is padding in an episode's last row.
    `episode_starts`: int64 [E + 1], first row of each episode and, last, the number of rows. `episodes`: E entries.
    """

    @property
    def columns(self) -> Mapping[str, np.ndarray]: ...

    @property
    def episode_starts(self) -> np.ndarray: ...

    @property
    def episodes(self) -> Sequence[EpisodeInfo]: ...


def observation_specs(columns: Columns) -> tuple[ArraySpec, ...]:
    """The observation arrays among the columns."""
    step = (ACTION_PREFIX, REWARD_PREFIX, DISCOUNT, "privileged/", "derived/")
    return tuple(ArraySpec(n, tuple(a.shape[1:]), a.dtype.name) for n, a in columns.columns.items() if not n.startswith(step))


@dataclass(frozen=True)
class ArrayColumns:
    """Columns in memory."""

    columns: Mapping[str, np.ndarray]
    episode_starts: np.ndarray
    episodes: Sequence[EpisodeInfo]

    @classmethod
    def from_episodes(cls, episodes: Sequence[Episode]) -> ArrayColumns:
        """Keeps the arrays that all episodes have; ValueError when there is none."""
        if not episodes:
            raise ValueError("no episodes to build columns from")
        lengths = [len(e) for e in episodes]
        starts = np.concatenate(([0], np.cumsum([n + 1 for n in lengths]))).astype(np.int64)
        out: dict[str, np.ndarray] = {}

        def common(names: list[set[str]]) -> list[str]:
            return sorted(set.intersection(*names))

        for name in common([set(e.observations) for e in episodes]):
            out[name] = np.concatenate([e.observations[name] for e in episodes])

        def padded(rows: list[np.ndarray], fill: float) -> np.ndarray:
            tail = [np.full((1, *r.shape[1:]), fill, dtype=np.float32) for r in rows]
            return np.concatenate([x for pair in zip(rows, tail, strict=True) for x in pair]).astype(np.float32)

        for name in common([set(e.actions) for e in episodes]):
            out[ACTION_PREFIX + name] = padded([e.actions[name] for e in episodes], 0.0)
        for name in common([set(e.rewards) for e in episodes]):
            out[REWARD_PREFIX + name] = padded([e.rewards[name] for e in episodes], np.nan)
        for name in common([set.intersection(*(set(s.goal) for s in e.segments)) for e in episodes]):
            out[GOAL + name] = np.concatenate([goal_rows(e, name) for e in episodes])
        out[DISCOUNT] = padded([e.discount for e in episodes], 0.0)
        infos = [
            EpisodeInfo(
                e.episode_id, str(e.meta.get("source", "")), str(e.meta.get("task", "")), e.outcome.success, e.outcome.terminated,
                reason=e.outcome.reason,
            )
            for e in episodes
        ]
        return cls(out, starts, infos)


def goal_rows(episode: Episode, name: str) -> np.ndarray:
    """What the segments' goal `name` was at each of T + 1 observations, float32 [T + 1, n]; KeyError when a segment has none."""
    of_step = np.append(episode.segment_index, episode.segment_index[-1:])
    return np.stack([np.asarray(s.goal[name], dtype=np.float32) for s in episode.segments])[of_step]
