"""The observation of a tick: the newest of each stream, or exactly the messages that a tick names."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apprentice_core.cell import StreamSpec
from apprentice_core.spaces import Observation
from apprentice_core.streams import JointNames, extractor, stamp_ns


@dataclass(frozen=True)
class Part:
    """Names one message: stream, topic (relative to the cell) and header stamp in nanoseconds."""

    stream: str
    topic: str
    stamp: int


class ObservationAssembler:
    """Keeps the last `depth` messages of each stream; decodes only what a tick asks for.

    Who takes serialised messages gives `decode(stream, raw) -> message` and uses `put_stamped`.
    """

    def __init__(
        self, streams: Sequence[StreamSpec], robot: JointNames, depth: int = 120,
        decode: Callable[[str, Any], Any] = lambda _, message: message,
    ):
        self._decode = decode
        self.streams = {s.name: s for s in streams}
        self._extract = {s.name: extractor(s, robot) for s in streams}
        self._messages: dict[str, deque[tuple[int, Any]]] = {s.name: deque(maxlen=depth) for s in streams}

    def put(self, stream: str, message: Any) -> int:
        """Takes a message with a header; returns its stamp. Messages of one stream come in order of stamp; older ones are dropped."""
        stamp = stamp_ns(message.header.stamp)
        self.put_stamped(stream, stamp, message)
        return stamp

    def put_stamped(self, stream: str, stamp: int, message: Any) -> None:
        kept = self._messages[stream]
        if not kept or stamp > kept[-1][0]:
            kept.append((stamp, message))

    def newest(self, not_after: int | None = None) -> dict[str, Part | None]:
        """The newest part of every stream with a stamp <= `not_after` (past only); None where there is none."""
        out: dict[str, Part | None] = {}
        for name, kept in self._messages.items():
            stamps = (s for s, _ in reversed(kept) if not_after is None or s <= not_after)
            stamp = next(stamps, None)
            out[name] = None if stamp is None else Part(name, self.streams[name].topic, stamp)
        return out

    def behind(self, stamp: int) -> list[str]:
        """Streams that have nothing at or after `stamp` yet."""
        return [n for n, kept in self._messages.items() if not kept or kept[-1][0] < stamp]

    def lacks(self, parts: Mapping[str, int]) -> list[str]:
        """Streams of `parts` (stream to stamp) whose exact message has not arrived."""
        return [n for n, stamp in parts.items() if n in self._messages and not any(s == stamp for s, _ in self._messages[n])]

    def observation(self, parts: Mapping[str, int]) -> Observation:
        """Arrays of exactly the named messages; KeyError naming the stream when one is not here."""
        out: Observation = {}
        for name, stamp in parts.items():
            if name not in self._messages:
                continue
            message = next((m for s, m in reversed(self._messages[name]) if s == stamp), None)
            if message is None:
                raise KeyError(f"{name} at {stamp}")
            out.update(self._extract[name](self._decode(name, message)))
        return out

    def clear(self) -> None:
        for kept in self._messages.values():
            kept.clear()
