"""Cuts episodes out of the stream of all messages of a cell, by stamp and not by arrival (DESIGN, Recording). Knows no ROS."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.streams import stamp_ns
from apprentice_store import messages as m
from apprentice_store.bag_metadata import DEFAULT_QOS, TopicQos
from apprentice_store.bag_writer import BagWriter
from apprentice_store.store import Store
from apprentice_store.typestore import deserialise, known

log = logging.getLogger(__name__)

PRE_ROLL = 2 * m.SECOND
"""ns of messages kept before an episode starts (ours)"""
CLOSE_TIMEOUT = 2.0
"""s of steady clock after the end event, then what is missing counts as lost (ours)"""
FLUSH_PERIOD = 0.5
"""s of steady clock: what a kill can lose (ours)"""
MIN_FREE = 500 << 20
"""bytes free on the disk below which no episode is begun (ours)"""
MAX_LATCHED = 100
"""kept of a latched topic, as tf_static has several publishers (ours)"""
LATCHED_NAMES = frozenset({"cell_spec", "robot_description", "tf_static", "camera_info", "calibration"})
"""last parts of topic names that are taken as latched where nobody declared them"""
_LATCHED = TopicQos(MAX_LATCHED, latched=True)
_SPINE = (m.ACTION, m.APPLIED, m.REWARD, m.STEP, m.TICK, m.TICK_MISSING)


@dataclass(frozen=True)
class Committed:
    """The fields of EpisodeCommitted.msg. `counts`: topic to {received, written, gaps}; `lost`: named stamps that are not in the bag."""

    episode_id: str
    ok: bool
    path: str
    message: str
    messages: int
    lost: int
    bytes: int
    counts: dict[str, dict[str, int]]

    @property
    def counts_json(self) -> str:
        return json.dumps(self.counts, sort_keys=True)


class RecorderLock:
    """One recorder for a cell and data folder; the lock goes with the process, however that ends."""

    def __init__(self, folder: Path, cell: str):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".recorder.{re.sub(r'[^A-Za-z0-9_.-]+', '_', cell.strip('/')) or 'cell'}.lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise ApprenticeError(f"cell {cell!r} is recorded into {folder} already, by process {holder}; stop that one first") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass
class _Topic:
    msgtype: str
    qos: TopicQos
    received: int = 0
    gaps: int = 0
    last_stamp: int | None = None
    ring: deque[tuple[int, bytes]] = field(default_factory=deque)
    """the last two seconds of stamps; latched: the last messages"""


class _Open:
    """The episode that is being recorded."""

    def __init__(self, writer: BagWriter, event: Any, start: int):
        self.writer, self.event, self.start = writer, event, start
        self.end: int | None = None
        self.end_event: Any = None
        self.ended_at = 0.0
        self.written: dict[str, int] = {}
        self.received_before: dict[str, int] = {}
        self.gaps_before: dict[str, int] = {}
        self.have: dict[str, set[int]] = {}
        """topic to stamps in the bag"""
        self.named: set[tuple[str, int]] = set()
        """(topic, stamp) that steps and the end event name, and that must be in the bag"""
        self.wanted: set[tuple[str, int]] = set()
        """the same of ticks: taken in when it is there"""
        self.steps: set[int] = set()
        self.answers: set[tuple[str, int]] = set()
        """(topic, step id) of `applied` and rewards in the bag"""
        self.expected: set[tuple[str, int]] = set()
        self.tick_ids: dict[int, int] = {}
        self.fault = ""

    def spans(self, stamp: int) -> bool:
        return self.start <= stamp and (self.end is None or stamp <= self.end)


class EpisodeRecorder:
    """Fed with every message of a cell, always: `offer` what arrives, `poll` at least each 0.1 s, and hand on what `poll` returns.

    An episode begins with a start event and takes in every message whose stamp lies between the start and the end event's, wherever it
    came in the order of arrival (and those few of a later stamp that overtook the end event), and every message that a tick, a step or the
    end event names; ticks, steps, actions, `applied` and rewards go by the episode id that they carry. It is closed when all named stamps,
    all steps and their `applied` and rewards are there, or 2 s after the end event; then what is missing counts as lost. Latched topics
    are written into each bag, at its start.
    """

    def __init__(
        self, store: Store, namespace: str, pre_roll: int = PRE_ROLL, min_free: int = MIN_FREE, clock: Callable[[], float] = time.monotonic
    ):
        self.store = store
        self.prefix = f"/{namespace.strip('/')}/" if namespace.strip("/") else "/"
        self.pre_roll, self.min_free = pre_roll, min_free
        self._lock = RecorderLock(store.folder, namespace)
        self._topics: dict[str, _Topic] = {}
        self._episode: _Open | None = None
        self._done: list[Committed] = []
        self._clock = clock
        self._flushed = clock()
        self.unknown_types: set[str] = set()

    @property
    def recording(self) -> str:
        """Id of the episode being recorded, '' in between."""
        return "" if self._episode is None else self._episode.event.episode_id

    def add_topic(self, topic: str, msgtype: str, qos: TopicQos = DEFAULT_QOS) -> None:
        """Declares a topic (absolute name) with what its publisher offers; a second time changes nothing."""
        if not known(msgtype):
            self.unknown_types.add(msgtype)
        elif topic not in self._topics:
            self._topics[topic] = _Topic(msgtype, qos)

    def offer(self, topic: str, msgtype: str, stamp_ns: int, cdr: bytes) -> None:
        """One serialised message. `stamp_ns`: node-clock time of arrival, used for types that carry no stamp of their own.

        A malformed message is counted as a gap, not raised.
        """
        found = self._topics.get(topic)
        if found is None:
            self.add_topic(topic, msgtype, _LATCHED if topic.rsplit("/", 1)[-1] in LATCHED_NAMES else DEFAULT_QOS)
            found = self._topics.get(topic)
            if found is None:
                return
        found.received += 1
        own = m.first_stamp(found.msgtype, cdr)
        stamp = stamp_ns if own is None else own
        try:
            spine = m.owner(found.msgtype, cdr)
            message = deserialise(found.msgtype, cdr) if found.msgtype in (m.EVENT, m.STEP, m.TICK, m.TICK_MISSING) else None
        except ValueError as error:
            found.gaps += 1
            log.warning("%s: %s", topic, error)
            return
        if own is not None and spine is None:
            self._count_gap(found, stamp)
        if found.qos.latched:
            self._latch(topic, found, stamp, cdr)
            return
        self._remember(found, stamp, cdr)
        if found.msgtype == m.EVENT:
            self._event(topic, message, stamp, cdr)
        elif self._episode is not None:
            self._take(self._episode, topic, found, stamp, cdr, spine, message)

    @staticmethod
    def _count_gap(topic: _Topic, stamp: int) -> None:
        """A stamp that goes back is a message out of order: the sequence has a gap there."""
        if topic.last_stamp is not None and stamp < topic.last_stamp:
            topic.gaps += 1
        topic.last_stamp = stamp if topic.last_stamp is None else max(stamp, topic.last_stamp)

    def _latch(self, name: str, topic: _Topic, stamp: int, cdr: bytes) -> None:
        if any(c == cdr for _, c in topic.ring):
            return
        topic.ring.append((stamp, cdr))
        keep = MAX_LATCHED if topic.qos.depth > 1 else 1
        while len(topic.ring) > keep:
            topic.ring.popleft()
        if self._episode is not None and self._episode.end is None:
            self._write(self._episode, name, topic, max(stamp, self._episode.start), cdr)

    def _remember(self, topic: _Topic, stamp: int, cdr: bytes) -> None:
        topic.ring.append((stamp, cdr))
        # Each topic by its own newest stamp: some carry wall time, others simulated time.
        oldest = max(stamp, topic.ring[-2][0] if len(topic.ring) > 1 else stamp) - self.pre_roll
        while topic.ring and topic.ring[0][0] < oldest:
            topic.ring.popleft()

    def _event(self, topic: str, event: Any, stamp: int, cdr: bytes) -> None:
        if event.event == "start":
            if self._episode is not None:
                self._abandon(f"episode {event.episode_id} began before this one had ended")
            self._start(event, stamp)
        episode = self._episode
        if episode is None or event.episode_id != episode.event.episode_id:
            return
        self._write(episode, topic, self._topics[topic], stamp, cdr)
        if event.event == "end" and episode.end is None:
            episode.end, episode.end_event, episode.ended_at = stamp, event, self._clock()
            self._name(episode, event.parts, episode.named)

    def _start(self, event: Any, stamp: int) -> None:
        try:
            if m.json_object(event.metadata, "metadata").get("record") is False:
                return
        except BagError as error:
            self._refuse(event, str(error))
            return
        free = shutil.disk_usage(self.store.folder).free
        if free < self.min_free:
            self._refuse(event, f"disk almost full: {free >> 20} MiB free in {self.store.folder}, {self.min_free >> 20} needed")
            return
        try:
            writer = BagWriter(self.store.folder, event.episode_id, {
                "episode_id": event.episode_id, "kind": event.kind, "task": event.task, "cell": self.prefix.strip("/"),
            })
        except BagError as error:
            self._refuse(event, str(error))
            return
        episode = self._episode = _Open(writer, event, stamp)
        episode.received_before = {n: t.received for n, t in self._topics.items()}
        episode.gaps_before = {n: t.gaps for n, t in self._topics.items()}
        # Observations before the spine, whose ticks and steps would take them from the ring a second time.
        for name, topic in sorted(self._topics.items(), key=lambda item: item[1].msgtype in _SPINE):
            if topic.qos.latched:
                for _, cdr in topic.ring:
                    self._write(episode, name, topic, stamp, cdr)
            elif topic.msgtype != m.EVENT:
                for at, cdr in topic.ring:
                    spine = m.owner(topic.msgtype, cdr)
                    message = deserialise(topic.msgtype, cdr) if topic.msgtype in (m.STEP, m.TICK, m.TICK_MISSING) else None
                    self._take(episode, name, topic, at, cdr, spine, message)

    def _refuse(self, event: Any, reason: str) -> None:
        log.error("episode %s is not recorded: %s", event.episode_id, reason)
        self._done.append(Committed(event.episode_id, False, "", reason, 0, 0, 0, {}))

    def _take(self, e: _Open, topic: str, found: _Topic, stamp: int, cdr: bytes, spine: tuple[str, int] | None, message: Any) -> None:
        """Writes a message if it belongs to the episode."""
        if spine is not None and spine[0]:
            if spine[0] != e.event.episode_id:
                return
        elif not e.spans(stamp) and (topic, stamp) not in e.named and (topic, stamp) not in e.wanted:
            return
        if not self._write(e, topic, found, stamp, cdr):
            return
        if found.msgtype in (m.APPLIED, m.REWARD) and spine is not None:
            e.answers.add((topic, spine[1]))
        elif found.msgtype == m.STEP:
            self._step(e, message)
        elif found.msgtype == m.TICK:
            self._tick(e, message)
        elif found.msgtype == m.TICK_MISSING:
            gone = {self.prefix + m.REWARD_TOPIC + s for s in message.sources}
            e.expected = {x for x in e.expected if not (x[0] in gone and x[1] in (message.step_id, *self._before(e, message.step_id)))}

    @staticmethod
    def _before(e: _Open, step_id: int) -> list[int]:
        return [e.tick_ids[k - 1] for k, i in e.tick_ids.items() if i == step_id and k - 1 in e.tick_ids]

    def _tick(self, e: _Open, tick: Any) -> None:
        e.tick_ids[int(tick.step)] = int(tick.step_id)
        self._name(e, tick.parts, e.wanted)
        # A tick asks for the reward of the step before it.
        previous = e.tick_ids.get(int(tick.step) - 1)
        if previous is not None:
            e.expected.update((f"{self.prefix}{m.REWARD_TOPIC}{s}", previous) for s in tick.reward_sources)

    def _step(self, e: _Open, step: Any) -> None:
        e.steps.add(int(step.step))
        e.expected.add((self.prefix + m.APPLIED_TOPIC, int(step.step_id)))
        self._name(e, step.parts, e.named)

    def _name(self, e: _Open, parts: list[Any], into: set[tuple[str, int]]) -> None:
        """Notes the messages that an observation is made of, and takes those that came earlier out of the ring."""
        for part in parts:
            stamp = stamp_ns(part.stamp)
            if stamp == 0:
                continue
            topic = part.topic if part.topic.startswith("/") else self.prefix + part.topic
            into.add((topic, stamp))
            found = self._topics.get(topic)
            if found is not None and stamp not in e.have.get(topic, ()):
                for at, cdr in found.ring:
                    if at == stamp:
                        self._write(e, topic, found, at, cdr)
                        break

    def _write(self, e: _Open, topic: str, found: _Topic, stamp: int, cdr: bytes) -> bool:
        if e.fault:
            return False
        try:
            if topic not in e.writer:
                e.writer.add_topic(topic, found.msgtype, found.qos)
            e.writer.write(topic, stamp, cdr)
        except BagError as error:
            # The episode goes on without its bag; who asked for it is told when it ends, and the operator now.
            e.fault = str(error)
            log.error("recording stopped: %s", error)
            return False
        e.written[topic] = e.written.get(topic, 0) + 1
        e.have.setdefault(topic, set()).add(stamp)
        return True

    def _missing(self, e: _Open) -> tuple[int, bool]:
        """(stamps and steps that are not here, whether `applied` and rewards are)."""
        lost = sum(stamp not in e.have.get(topic, ()) for topic, stamp in e.named)
        return lost + max(0, int(e.end_event.steps) - len(e.steps)), e.expected <= e.answers

    def poll(self) -> list[Committed]:
        """Flushes when due, and closes the episode when it is complete or its time is over."""
        e, steady = self._episode, self._clock()
        if e is not None and not e.fault and steady - self._flushed >= FLUSH_PERIOD:
            self._flushed = steady
            try:
                e.writer.flush()
            except BagError as error:
                e.fault = str(error)
                log.error("recording stopped: %s", error)
        if e is not None and e.end is not None:
            lost, answered = self._missing(e)
            if (lost == 0 and answered) or e.fault or steady - e.ended_at >= CLOSE_TIMEOUT:
                self._close(e, lost)
        done, self._done = self._done, []
        return done

    def _counts(self, e: _Open) -> dict[str, dict[str, int]]:
        return {
            n: {
                "received": t.received - e.received_before.get(n, 0),
                "written": e.written.get(n, 0),
                "gaps": t.gaps - e.gaps_before.get(n, 0),
            }
            for n, t in sorted(self._topics.items())
        }

    def _close(self, e: _Open, lost: int) -> None:
        self._episode = None
        counts, episode_id = self._counts(e), e.event.episode_id
        if e.fault:
            e.writer.abandon(e.fault)
            self._done.append(Committed(episode_id, False, str(e.writer.folder), e.fault, 0, lost, e.writer.size, counts))
            return
        try:
            bag = e.writer.commit({"lost": str(lost), "counts": json.dumps(counts, sort_keys=True)})
        except BagError as error:
            self._done.append(Committed(episode_id, False, str(e.writer.folder), str(error), 0, lost, e.writer.size, counts))
            return
        message = f"{lost} observations or steps lost" if lost else ""
        try:
            self.store.commit(bag.path)
        except ApprenticeError as error:
            message = f"the bag is whole, its row is missing ({error}); run `apprentice store repair`"
        self._done.append(Committed(episode_id, True, str(bag.path), message, bag.messages, lost, bag.bytes, counts))

    def _abandon(self, reason: str) -> None:
        e, self._episode = self._episode, None
        if e is not None:
            e.writer.abandon(reason)
            self._done.append(Committed(e.event.episode_id, False, str(e.writer.folder), reason, 0, 0, e.writer.size, self._counts(e)))

    def close(self) -> list[Committed]:
        """At shutdown: an episode that has ended is committed as it is, one that has not is left for `repair`."""
        if self._episode is not None:
            if self._episode.end is not None:
                self._close(self._episode, self._missing(self._episode)[0])
            else:
                self._abandon("the recorder was stopped in mid-episode")
        self._lock.release()
        done, self._done = self._done, []
        return done
