"""Episodes of many connectors as arrays (C3, C4), and the one door to training on them (C5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError
from apprentice_core.streams import TOOL_POSE
from apprentice_learning.data.columns import ACTION_PREFIX, REWARD_PREFIX, ArrayColumns, Columns
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_learning.representations.registry import ConnectorRegistry, Domain, domain_index
from apprentice_store.store import Store

CAMERA = "camera/side"
SOCKET = "object/socket/pose"
SUCCESS = "scripted/sparse"
"""the binary reward that the calibrated pose gave at collection"""


@dataclass(frozen=True)
class EpisodeFacts:
    """Whose episode it is."""

    connector: str
    robot: str
    background: str
    preprocessing: str = ""

    @property
    def domain(self) -> Domain:
        return Domain(self.connector, self.robot)


@dataclass(frozen=True)
class ConnectorData:
    """Episodes end to end; an episode of T steps takes T + 1 rows, the last after the last action.

    frames uint8 [N, H, W, 3]; action float32 [N, A] in [-1, 1] and zero in an episode's last row; success bool [N]: whether the frame
    shows a plug that is fully in, by the calibrated pose at collection (a step's reward is the success of the row behind it);
    offset float32 [N, 2]: socket minus tool in x and y, metres, NaN where unknown; starts int64 [E + 1]; episodes: E entries.
    """

    frames: np.ndarray
    action: np.ndarray
    success: np.ndarray
    offset: np.ndarray
    starts: np.ndarray
    episodes: tuple[EpisodeFacts, ...]

    def __post_init__(self) -> None:
        n = len(self.frames)
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(f"frames: {self.frames.dtype} {self.frames.shape}, needs uint8 [N, H, W, 3]")
        lengths = {len(self.action), len(self.success), len(self.offset), int(self.starts[-1])}
        if lengths != {n} or len(self.starts) != len(self.episodes) + 1:
            raise ValueError(f"{n} frames, but other arrays differ in length")
        seen = {e.preprocessing for e in self.episodes if e.preprocessing}
        if seen - {fingerprint()}:
            raise ApprenticeError(
                f"frames were made by image code {', '.join(sorted(seen))}, this release's is {fingerprint()}: collect them again"
            )

    @classmethod
    def from_episodes(
        cls, episodes: Sequence[Episode], camera: str = CAMERA, reward: str = SUCCESS, action: str = "executed"
    ) -> ConnectorData:
        """Episodes of the store or of a simulation; their metadata name connector_id, robot_id, background_id (and preprocessing).

        ApprenticeError names what an episode lacks.
        """
        columns = ArrayColumns.from_episodes(episodes)
        offset = np.full((int(columns.episode_starts[-1]), 2), np.nan, dtype=np.float32)
        for e, start in zip(episodes, columns.episode_starts, strict=False):
            if SOCKET in e.privileged and TOOL_POSE in e.observations:
                offset[start : start + len(e) + 1] = e.privileged[SOCKET][:, :2] - e.observations[TOOL_POSE][:, :2]
        said = {e.episode_id: e.meta.get("metadata", {}) for e in episodes}
        return cls._of(columns, said, offset, camera, reward, action)

    @classmethod
    def from_store(
        cls, store: Store, where: str, progress: Callable[[int, int], None] | None = None, camera: str = CAMERA, reward: str = SUCCESS,
        action: str = "executed",
    ) -> ConnectorData:
        """The same of all episodes that fulfil `where`, in the order of their starts. Each bag is decoded once: frames lie memory-mapped in
        the store's replay cache, which goes by the bags' hashes and is built again when they are others. Damaged bags are left out with
        a warning; ApprenticeError when nothing is left."""
        columns = StoreColumns.open(store, where, (camera, TOOL_POSE), progress)
        said = {r.episode_id: json.loads(r.metadata_json) for r in store.episodes(where)}
        tool, socket = columns.columns[TOOL_POSE], columns.columns.get(f"privileged/{SOCKET}")
        offset = np.full((len(tool), 2), np.nan, dtype=np.float32) if socket is None else socket[:, :2] - tool[:, :2]
        return cls._of(columns, said, offset, camera, reward, action)

    @classmethod
    def _of(
        cls, columns: Columns, said: Mapping[str, Mapping[str, Any]], offset: np.ndarray, camera: str, reward: str, action: str
    ) -> ConnectorData:
        for needed in (camera, ACTION_PREFIX + action, REWARD_PREFIX + reward):
            if needed not in columns.columns:
                raise ApprenticeError(f"not every episode has {needed}")
        given = columns.columns[REWARD_PREFIX + reward]
        success = np.zeros(len(given), dtype=bool)
        success[1:] = given[:-1] > 0.5  # NaN behind each episode's last step: the next one's first frame is no success
        facts = []
        for e in columns.episodes:
            own = said[e.episode_id]
            missing = [k for k in ("connector_id", "robot_id") if k not in own]
            if missing:
                raise ApprenticeError(f"{e.episode_id}: metadata lacks {', '.join(missing)}")
            facts.append(EpisodeFacts(*(str(own.get(k, "")) for k in ("connector_id", "robot_id", "background_id", "preprocessing"))))
        return cls(columns.columns[camera], columns.columns[ACTION_PREFIX + action], success, offset, columns.episode_starts, tuple(facts))

    @classmethod
    def join(cls, parts: Sequence[ConnectorData]) -> ConnectorData:
        """Data of several collections, robots and cameras merged (C39); frames must have one size."""
        starts = [np.zeros(1, dtype=np.int64)]
        for part in parts:
            starts.append(part.starts[1:] + starts[-1][-1])
        frames, action, success, offset = (
            np.concatenate([getattr(p, n) for p in parts]) for n in ("frames", "action", "success", "offset")
        )
        return cls(frames, action, success, offset, np.concatenate(starts), tuple(e for p in parts for e in p.episodes))

    @property
    def connectors(self) -> tuple[str, ...]:
        return tuple(sorted({e.connector for e in self.episodes}))

    @property
    def domains(self) -> tuple[Domain, ...]:
        return tuple(sorted({e.domain for e in self.episodes}))

    @property
    def frame_episode(self) -> np.ndarray:
        """Each frame's episode, int64 [N]."""
        return np.repeat(np.arange(len(self.episodes)), np.diff(self.starts))

    def rows_of(self, connectors: Iterable[str]) -> np.ndarray:
        """Frames of these connectors on any robot, int64."""
        wanted = set(connectors)
        keep = np.array([e.connector in wanted for e in self.episodes], dtype=bool)
        return np.flatnonzero(keep[self.frame_episode])


class TrainingSet:
    """Frames that may be trained on. Reward model, localiser and offline RL take nothing else, so all hold to the same split.

    rows int64 [n]: frames; steps int64 [m]: those of them that begin a transition (row -> row + 1); domain int64 [N] by frame, NO_DOMAIN
    outside; HeldOutError when one of `connectors` is held out or a close variant of one that is.
    """

    def __init__(self, data: ConnectorData, registry: ConnectorRegistry, connectors: Iterable[str] | None = None):
        self.connectors = tuple(sorted(set(data.connectors if connectors is None else connectors)))
        registry.admit(self.connectors)
        unknown = sorted(set(self.connectors) - set(data.connectors))
        if unknown or not self.connectors:
            raise ApprenticeError(f"no data of {', '.join(unknown) or 'any connector'}")
        self.data = data
        self.rows = data.rows_of(self.connectors)
        last = np.zeros(len(data.frames), dtype=bool)
        last[data.starts[1:] - 1] = True
        self.steps = self.rows[~last[self.rows]]
        index = domain_index([e.domain for e in data.episodes if e.connector in set(self.connectors)])
        self.domains = tuple(index)
        of_episode = np.array([index.get(e.domain, -1) for e in data.episodes], dtype=np.int64)
        self.domain = of_episode[data.frame_episode]

    @classmethod
    def without(cls, data: ConnectorData, registry: ConnectorRegistry, leave_out: Iterable[str] = ()) -> TrainingSet:
        """All but the held-out connectors and `leave_out`, each with its close variants and on every robot (C5)."""
        return cls(data, registry, registry.training_connectors(data.connectors, leave_out))
