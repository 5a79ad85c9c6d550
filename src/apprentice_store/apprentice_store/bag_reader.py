"""A bag back into arrays: exactly the observations that the policy saw, bit for bit (contract 3)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.cell import CellSpec, StreamSpec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, RobotJoints, cell_spec_from_json
from apprentice_core.episode import ACTION_KINDS, Episode, EpisodeOutcome, Segment
from apprentice_core.errors import BagError, ConfigError
from apprentice_core.spaces import ArraySpec, observation_digest
from apprentice_core.streams import extractor, objects_to_privileged, stamp_ns
from apprentice_store import messages as m
from apprentice_store.bag_metadata import bag_file, read_metadata
from apprentice_store.bag_writer import OPEN, TORN
from apprentice_store.mcap_scan import McapScan
from apprentice_store.older_types import Rewrite, rewriter
from apprentice_store.typestore import deserialise

MAX_STEPS = 200_000
"""steps of one episode; more is refused (ours)"""
MAX_ACTION = 128
"""numbers of one action; more is refused (ours)"""
MAX_ARRAYS = 16 << 30
"""bytes of one episode's arrays; more is refused (ours)"""
MAX_SIDE = 16_384
CAMERA = "camera/"
STAMPS = ("acquired", "received", "inference_start", "inference_end", "sent", "applied")


def read_episode(path: Path | str, names: Iterable[str] | None = None) -> Episode:
    """The episode in the bag folder `path`; `names` limits the observation to these arrays. BagError, in one line, on any other bag."""
    return EpisodeReader(Path(path)).episode(names)


def digest_mismatches(episode: Episode, names: Iterable[str] | None = None) -> list[int]:
    """Steps whose recorded digest differs from that of the rebuilt observation, over `names` (where None: all arrays, or, for sources that
    look at no picture, all but those).

    Steps without a digest (people) are left out.
    """
    whole = tuple(names) if names is not None else tuple(episode.observations)
    blind = tuple(n for n in whole if not n.startswith(CAMERA)) if names is None else whole
    return [
        t for t, digest in enumerate(episode.digests)
        if digest and not any(digest == observation_digest(episode.observation_at(t), seen) for seen in (whole, blind))
    ]


class EpisodeReader:
    """Scans a bag once and knows its story; `episode` decodes the observations."""

    def __init__(self, path: Path):
        self.path = path
        if path.name.endswith((OPEN, TORN)):
            raise BagError(f"{path}: was never committed; run `apprentice store repair`")
        self.info = read_metadata(path)
        self.custom = {str(k): str(v) for k, v in (self.info.get("custom_data") or {}).items()}
        try:
            self._scan(bag_file(path, self.info))
            self._story()
        except (BagError, ConfigError, ValueError) as error:
            text = " ".join(str(error).split())
            raise BagError(text if text.startswith(str(path)) else f"{path}: {text}") from error

    def _scan(self, file: Path) -> None:
        self.topics: dict[str, list[memoryview]] = {}
        self.types: dict[str, str] = {}
        rewriters: dict[str, Rewrite | None] = {}
        for channel, _, cdr in McapScan(file):
            topic = channel.topic
            if topic not in self.types:
                if channel.encoding != "cdr":
                    raise BagError(f"messages are coded as {channel.encoding[:20]!r}, not as cdr")
                rewriters[topic] = rewriter(channel.type, channel.metadata, channel.schema_text)
                self.types[topic] = channel.type
                self.topics[topic] = []
            elif self.types[topic] != channel.type:
                raise BagError(f"{topic[:100]} has two types")
            rewrite = rewriters[topic]
            self.topics[topic].append(cdr if rewrite is None else memoryview(rewrite(cdr)))

    def _of(self, topic: str, msgtype: str) -> list[Any]:
        """All messages of a topic (relative to the cell), decoded; none where it is absent or of another type."""
        name = self.prefix + topic
        return [deserialise(msgtype, c) for c in self.topics[name]] if self.types.get(name) == msgtype else []

    def _story(self) -> None:
        found = [t for t, kind in self.types.items() if kind == m.EVENT and t.endswith("/" + m.EVENT_TOPIC)]
        if len(found) != 1:
            raise BagError("foreign bag: no episode/event topic of ours" if not found else "two cells in one bag")
        self.prefix = found[0][: -len(m.EVENT_TOPIC)]
        events = self._of(m.EVENT_TOPIC, m.EVENT)
        starts = [e for e in events if e.event == "start"]
        if len(starts) != 1:
            raise BagError(f"{len(starts)} start events, expected one")
        self.start = starts[0]
        mine = [e for e in events if e.episode_id == self.start.episode_id]
        ends = [e for e in mine if e.event == "end"]
        if len(ends) > 1:
            raise BagError("two end events")
        self.end = ends[0] if ends else None
        self.segments: list[Segment] = sorted(
            (m.segment_from_message(e.segment) for e in mine if e.event in ("start", "segment")), key=lambda s: s.index
        )
        specs = self._of(CELL_SPEC_TOPIC, m.STRING)
        if not specs:
            raise BagError("no cell_spec message")
        self.spec: CellSpec
        self.robot: RobotJoints
        self.spec, self.robot = cell_spec_from_json(specs[-1].data)
        self._read_steps()

    def _read_steps(self) -> None:
        episode_id = self.start.episode_id
        steps = {s.step: s for s in self._of(m.STEP_TOPIC, m.STEP) if s.episode_id == episode_id}
        self.steps = [steps[k] for k in sorted(steps)]
        if len(self.steps) > MAX_STEPS:
            raise BagError(f"{len(self.steps)} steps, more than {MAX_STEPS}")
        ticks = {t.step: t for t in self._of(m.TICK_TOPIC, m.TICK) if t.episode_id == episode_id}
        count = len(self.steps)
        if self.end is not None and self.end.steps != count:
            raise BagError(f"the end event counts {self.end.steps} steps, the bag holds {count}")
        whole = [s.step for s in self.steps] == list(range(count))
        if self.end is not None:
            if not whole:
                raise BagError("the steps are not numbered 0, 1, 2 ...")
            last, stamp = self.end.parts, stamp_ns(ticks[count].stamp if count in ticks else self.end.stamp)
        else:
            # A recovered bag ends where the recording was cut: at the last step whose following observation is known.
            count = next((k for k, s in enumerate(self.steps) if s.step != k), count)
            self.steps = self.steps[:count]
            if count not in ticks or not self._has_parts(ticks[count].parts):
                count -= 1
            if count < 0:
                raise BagError("no step of the episode was recorded")
            after = ticks[count] if count in ticks and count == len(self.steps) else self.steps[count]
            self.steps, last, stamp = self.steps[:count], after.parts, stamp_ns(after.stamp)
        self.parts = [{p.stream: p for p in s} for s in (*(s.parts for s in self.steps), last)]
        self.tick_stamps = np.array([*(stamp_ns(s.stamp) for s in self.steps), stamp], dtype=np.int64)

    def by_stamp(self, topic: str) -> dict[int, memoryview]:
        msgtype = self.types.get(self.prefix + topic, "")
        stamps = ((m.first_stamp(msgtype, c), c) for c in self.topics.get(self.prefix + topic, ()))
        return {s: c for s, c in stamps if s is not None}

    def _has_parts(self, parts: list[Any]) -> bool:
        return all(stamp_ns(p.stamp) in self.by_stamp(p.topic) for p in parts)

    @property
    def meta(self) -> dict[str, Any]:
        """What was known while recording, as plain values (the catalogue's row)."""
        s, e = self.start, self.end
        return {
            "episode_id": s.episode_id,
            "kind": s.kind,
            "task": s.task,
            "cell": self.spec.name,
            "robot": self.spec.robot,
            "source": s.source,
            # Over ROS the policy node says which bundle acts only in its answers, so the start event may not know it yet.
            "bundle_id": s.bundle_id or next((step.bundle_id for step in self.steps if step.bundle_id), ""),
            "reset_mode": s.reset_mode,
            "initial_state": s.initial_state,
            "seed": int(s.seed) if s.seed >= 0 else None,
            "continues": s.continues,
            "metadata": m.json_object(s.metadata, "metadata of the start event"),
            "action_space": self.spec.action_space.name,
            "control_period": self.spec.timing.control_period,
            "steps": len(self.steps),
            "success": None if e is None or e.success < 0 else bool(e.success),
            "terminated": bool(e.terminated) if e is not None else False,
            "truncated": bool(e.truncated) if e is not None else True,
            "reason": e.reason if e is not None else "torn",
            "started": stamp_ns(s.stamp),
            "duration": float(self.tick_stamps[-1] - self.tick_stamps[0]) * 1e-9,
            "lost": int(self.custom["lost"]) if self.custom.get("lost", "").isdecimal() else 0,
            "hash": self.custom.get("hash", ""),
        }

    def episode(self, names: Iterable[str] | None = None) -> Episode:
        """All arrays; BagError naming the first part that the bag lacks or holds in the wrong form."""
        try:
            return self._episode(None if names is None else set(names))
        except (BagError, ValueError, KeyError, IndexError) as error:
            text = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise BagError(text if text.startswith(str(self.path)) else f"{self.path}: {' '.join(text.split())}") from error

    def _action_size(self) -> int:
        """Of the cell's action space, or of the other space (a reset's joint velocities) that all of the episode's steps name."""
        space = self.spec.action_space
        if not self.steps or self.steps[0].action_space_hash in ("", space.hash):
            return space.size
        size = len(self.steps[0].executed)
        if not 0 < size <= MAX_ACTION:
            raise BagError(f"step 0: executed has {size} numbers")
        return size

    def _episode(self, names: set[str] | None) -> Episode:
        n, size = len(self.steps), self._action_size()
        observations: dict[str, np.ndarray] = {}
        for stream in self.spec.streams:
            wanted = [a for a in stream.arrays if names is None or a.name in names]
            if wanted and any(stream.name in p for p in self.parts):
                observations.update(self._stream(stream, wanted))
        actions = {k: np.zeros((n, size), np.float32) for k in ACTION_KINDS}
        for t, step in enumerate(self.steps):
            for kind in ACTION_KINDS:
                values = getattr(step, kind)
                if len(values) not in (0, size):
                    raise BagError(f"step {t}: {kind} has {len(values)} numbers, the action space {size}")
                if len(values):
                    actions[kind][t] = values
        index = {s.index: i for i, s in enumerate(self.segments)}
        end, meta = self.end, self.meta
        return Episode(
            episode_id=self.start.episode_id,
            path=str(self.path),
            meta=meta,
            observations=observations,
            actions=actions,
            discount=np.array([s.discount for s in self.steps], np.float32),
            rewards=self._rewards(),
            privileged=self._privileged(),
            actors=[s.actor for s in self.steps],
            outcomes=[s.outcome for s in self.steps],
            segments=self.segments,
            segment_index=np.array([index[s.segment] for s in self.steps], np.int32),
            digests=[s.observation_digest for s in self.steps],
            stamps={
                **{k: np.array([stamp_ns(getattr(s, k)) for s in self.steps], np.int64) for k in STAMPS}, "tick": self.tick_stamps,
            },
            outcome=EpisodeOutcome(meta["terminated"], meta["truncated"], meta["reason"], meta["success"])
            if end is not None else EpisodeOutcome(False, True, "torn", None),
        )

    def _stream(self, stream: StreamSpec, wanted: list[ArraySpec]) -> dict[str, np.ndarray]:
        rows = len(self.parts)
        for a in wanted:
            if any(not 0 < s <= MAX_SIDE for s in a.shape) or rows * int(np.prod(a.shape)) * 8 > MAX_ARRAYS:
                raise BagError(f"{a.name}: shape {a.shape} is too large")
        out = {a.name: np.empty((rows, *a.shape), a.dtype) for a in wanted}
        extract, by_stamp, previous = extractor(stream, self.robot), self.by_stamp(stream.topic), None
        if self.types.get(self.prefix + stream.topic, stream.type) != stream.type:
            raise BagError(f"{stream.topic} is not a {stream.type}")
        for row, parts in enumerate(self.parts):
            stamp = stamp_ns(parts[stream.name].stamp) if stream.name in parts else 0
            if stamp == 0 and (row == 0 or (row < len(self.steps) and self.steps[row].outcome == "applied")):
                raise KeyError(f"{stream.name} in the observation of step {row}")
            if stamp in (0, previous):
                # Realtime pace: a slow stream answers several ticks with one message; of a silent one, held steps name none at all.
                for a in wanted:
                    out[a.name][row] = out[a.name][row - 1]
                continue
            if stamp not in by_stamp:
                raise KeyError(f"{stream.name} at {stamp}, named by step {row}")
            message = deserialise(stream.type, by_stamp[stamp])
            if stream.name.startswith(CAMERA):
                check_png(message.data, wanted[0])
            arrays = extract(message)
            for a in wanted:
                if arrays[a.name].shape != a.shape or arrays[a.name].dtype != a.dtype:
                    raise BagError(f"{a.name}: {arrays[a.name].dtype} {arrays[a.name].shape}, the cell spec says {a.dtype} {a.shape}")
                out[a.name][row] = arrays[a.name]
            previous = stamp
        return out

    def _rewards(self) -> dict[str, np.ndarray]:
        rows = {s.step_id: t for t, s in enumerate(self.steps)}
        out: dict[str, np.ndarray] = {}
        for topic, msgtype in self.types.items():
            if msgtype != m.REWARD or not topic.startswith(self.prefix + m.REWARD_TOPIC):
                continue
            for message in self._of(topic[len(self.prefix) :], m.REWARD):
                row = rows.get(message.step_id)
                if row is None or message.episode_id != self.start.episode_id:
                    continue
                for name, value, valid in zip(message.names, message.values, message.valid, strict=True):
                    column = out.setdefault(f"{message.source}/{name}", np.full(len(self.steps), np.nan, np.float32))
                    column[row] = value if valid else np.nan
        return out

    def _privileged(self) -> dict[str, np.ndarray]:
        by_stamp = self.by_stamp(m.OBJECTS_TOPIC)
        if not by_stamp or self.types[self.prefix + m.OBJECTS_TOPIC] != m.OBJECTS:
            return {}
        stamps = np.array(sorted(by_stamp), np.int64)
        after = np.clip(np.searchsorted(stamps, self.tick_stamps), 0, len(stamps) - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(stamps[before] - self.tick_stamps) < np.abs(stamps[after] - self.tick_stamps)
        chosen = stamps[np.where(nearer, before, after)]
        decoded = [objects_to_privileged(deserialise(m.OBJECTS, by_stamp[int(s)])) for s in chosen]
        return {k: np.stack([d[k] for d in decoded]) for k in decoded[0]}


def check_png(data: np.ndarray, spec: ArraySpec) -> None:
    """Refuses an image whose header claims other sizes before a decoder makes room for them."""
    head = bytes(data[:24])
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise BagError(f"{spec.name}: not a PNG")
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if (height, width) != spec.shape[:2]:
        raise BagError(f"{spec.name}: image {height}x{width}, the cell spec says {spec.shape[0]}x{spec.shape[1]}")
