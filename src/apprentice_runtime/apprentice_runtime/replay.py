"""Reading a bag for replay, and when each of its messages is due. No ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import McapReader, make_reader

from apprentice_core.errors import BagError
from apprentice_store.older_types import Rewrite, rewriter

COMMANDS = ("tick", "tick_missing", "action", "estop/request")
"""topics, relative to a cell, that nodes act on; replayed only when asked for"""


@dataclass(frozen=True)
class BagTopic:
    """`latched`: offered as transient local when it was recorded."""

    name: str
    msgtype: str
    messages: int
    latched: bool


@dataclass(frozen=True)
class BagMessage:
    """`time`: log time in ns; `cdr`: the serialised message, of today's type where one of ours has changed since."""

    topic: str
    time: int
    cdr: bytes


def is_command(topic: str) -> bool:
    return any(topic == c or topic.endswith(f"/{c}") for c in COMMANDS) or "/action/" in topic


class BagReplay:
    """The messages of one bag folder (or .mcap file) in order of their log time, between `start` and `end` s after its first.

    Latched messages from before `start` are given too, so that late starts still have robot description and calibration.
    BagError when the bag is torn or foreign.
    """

    def __init__(self, path: Path, start: float = 0.0, end: float = float("inf"), topics: Sequence[str] = (), commands: bool = False):
        files = [path] if path.is_file() else sorted(path.glob("*.mcap"))
        if not files:
            raise BagError(f"{path}: no .mcap file there")
        self.path, self._files = path, files
        every = self._scan()
        unknown = [t for t in topics if t not in every]
        if unknown:
            raise BagError(f"{path}: no topic {unknown[0]!r}; has: {', '.join(sorted(every))}")
        self.skipped = tuple(sorted(t for t in every if is_command(t) and not commands and t not in topics))
        wanted = topics or [t for t in every if t not in self.skipped]
        self.topics = {t: every[t] for t in wanted}
        self.first = self._first + round(start * 1e9)
        self.last = self._last if end == float("inf") else min(self._last, self._first + round(end * 1e9))

    @property
    def duration(self) -> float:
        """S between the first and the last message of the window."""
        return max(0.0, (self.last - self.first) * 1e-9)

    def _scan(self) -> dict[str, BagTopic]:
        topics: dict[str, BagTopic] = {}
        self._rewriters: dict[str, Rewrite | None] = {}
        firsts, lasts = [], []
        for file in self._files:
            with file.open("rb") as stream:
                try:
                    summary = make_reader(stream).get_summary()
                except (McapError, ValueError, OSError) as error:
                    raise BagError(f"{file}: cannot be read ({error}); try: apprentice store repair") from error
            if summary is None or summary.statistics is None:
                raise BagError(f"{file}: has no index, so it was cut short; try: apprentice store repair")
            if summary.statistics.message_count:
                firsts.append(summary.statistics.message_start_time)
                lasts.append(summary.statistics.message_end_time)
            for channel in summary.channels.values():
                schema = summary.schemas.get(channel.schema_id)
                if schema is None or channel.message_encoding != "cdr":
                    raise BagError(f"{file}: topic {channel.topic} is not a ROS 2 message")
                try:
                    text = schema.data.decode("utf-8", "replace")
                    self._rewriters[channel.topic] = rewriter(schema.name, channel.metadata, text)
                except BagError as error:
                    raise BagError(f"{file}: {error}") from error
                count = summary.statistics.channel_message_counts.get(channel.id, 0)
                before = topics[channel.topic].messages if channel.topic in topics else 0
                qos = channel.metadata.get("offered_qos_profiles", "")
                latched = "durability: transient_local" in qos or "durability: 1" in qos
                topics[channel.topic] = BagTopic(channel.topic, schema.name, before + count, latched)
        if not firsts:
            raise BagError(f"{self.path}: holds no messages")
        self._first, self._last = min(firsts), max(lasts)
        return topics

    def messages(self) -> Iterator[BagMessage]:
        latched = [t for t, info in self.topics.items() if info.latched]
        if latched and self.first > self._first:
            for message in self._read(latched, self._first, self.first):
                yield BagMessage(message.topic, self.first, message.cdr)
        yield from self._read(list(self.topics), self.first, self.last + 1)

    def _read(self, topics: list[str], first: int, stop: int) -> Iterator[BagMessage]:
        for file in self._files:
            with file.open("rb") as stream:
                reader: McapReader = make_reader(stream)
                try:
                    for _, channel, message in reader.iter_messages(topics, starting_at=first, ending_before=stop):
                        rewrite = self._rewriters[channel.topic]
                        yield BagMessage(channel.topic, message.log_time, message.data if rewrite is None else rewrite(message.data))
                except (McapError, ValueError, OSError) as error:
                    raise BagError(f"{file}: damaged ({error}); try: apprentice store repair") from error


class ReplaySchedule:
    """Gives out messages when they are due: `rate` 2.0 is twice as fast; times are steady-clock seconds."""

    def __init__(self, replay: BagReplay, rate: float, loop: bool):
        self._replay, self._rate, self._loop = replay, rate, loop
        self._iterator = replay.messages()
        self._next: BagMessage | None = next(self._iterator, None)
        self._began: float | None = None
        self.laps = 0

    def due(self, now: float, limit: int = 1000) -> list[BagMessage]:
        """All that is due at `now`, at most `limit` at a time."""
        if self._began is None:
            self._began = now
        out: list[BagMessage] = []
        while self._next is not None and len(out) < limit and self.wait(now) <= 0:
            out.append(self._next)
            self._next = next(self._iterator, None)
            if self._next is None and self._loop:
                self.laps += 1
                self._began += max(self._replay.duration / self._rate, 1e-3)
                self._iterator = self._replay.messages()
                self._next = next(self._iterator, None)
        return out

    def wait(self, now: float) -> float:
        """Seconds until the next message is due; infinity at the end."""
        if self._next is None:
            return float("inf")
        began = now if self._began is None else self._began
        return began + (self._next.time - self._replay.first) * 1e-9 / self._rate - now

    @property
    def done(self) -> bool:
        return self._next is None
