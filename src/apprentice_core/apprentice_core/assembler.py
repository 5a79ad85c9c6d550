"""The observation of a tick: the newest of each stream, or exactly the messages that a tick names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apprentice_core.cell import StreamSpec
from apprentice_core.spaces import Observation
from apprentice_core.streams import JointNames, extractor, raw_extractor, stamp_ns


@dataclass(frozen=True)
class Part:
    """Names one message: stream, topic (relative to the cell) and header stamp in nanoseconds."""

    stream: str
    topic: str
    stamp: int


class ObservationAssembler:
    """Keeps the last `depth` messages of each stream; decodes only what a tick asks for.

    Who takes serialised messages gives `decode(stream, raw) -> message` and uses `put_stamped`; small messages are then not decoded at all.
    """

    def __init__(
        self, streams: Sequence[StreamSpec], robot: JointNames, depth: int = 120,
        decode: Callable[[str, Any], Any] | None = None,
    ):
        self._decode = decode
        self._raw = {s.name: raw for s in streams if decode is not None and (raw := raw_extractor(s, robot)) is not None}
        self.streams = {s.name: s for s in streams}
        self._extract = {s.name: extractor(s, robot) for s in streams}
        self._depth = depth
        # By stamp, oldest first.
        self._messages: dict[str, dict[int, Any]] = {s.name: {} for s in streams}
        self._prepared: dict[str, tuple[int, Observation]] = {}

    def put(self, stream: str, message: Any) -> int:
        """Takes a message with a header; returns its stamp. Messages of one stream come in order of stamp; older ones are dropped."""
        stamp = stamp_ns(message.header.stamp)
        self.put_stamped(stream, stamp, message)
        return stamp

    def put_stamped(self, stream: str, stamp: int, message: Any) -> None:
        kept = self._messages[stream]
        if not kept or stamp > next(reversed(kept)):
            kept[stamp] = message
            if len(kept) > self._depth:
                del kept[next(iter(kept))]

    def newest(self, not_after: int | None = None) -> dict[str, Part | None]:
        """The newest part of every stream with a stamp <= `not_after` (past only); None where there is none."""
        out: dict[str, Part | None] = {}
        for name, kept in self._messages.items():
            stamps = (s for s in reversed(kept) if not_after is None or s <= not_after)
            stamp = next(stamps, None)
            out[name] = None if stamp is None else Part(name, self.streams[name].topic, stamp)
        return out

    def behind(self, stamp: int) -> list[str]:
        """Streams that have nothing at or after `stamp` yet."""
        return [n for n, kept in self._messages.items() if not kept or next(reversed(kept)) < stamp]

    def lacks(self, parts: Mapping[str, int]) -> list[str]:
        """Streams of `parts` (stream to stamp) whose exact message has not arrived."""
        return [n for n, stamp in parts.items() if n in self._messages and stamp not in self._messages[n]]

    def kept(self, stream: str, stamp: int) -> Any:
        """That very message as it was put in; None when it is not here."""
        return self._messages[stream].get(stamp)

    def observation(self, parts: Mapping[str, int]) -> Observation:
        """Arrays of exactly the named messages; KeyError naming the stream when one is not here."""
        out: Observation = {}
        for name, stamp in parts.items():
            kept = self._messages.get(name)
            if kept is None:
                continue
            if stamp not in kept:
                raise KeyError(f"{name} at {stamp}")
            ready, arrays = self._prepared.get(name, (-1, {}))
            out.update(arrays if ready == stamp else self._arrays(name, kept[stamp]))
        return out

    def _arrays(self, name: str, message: Any) -> Observation:
        """KeyError or ValueError when it is no message of this stream."""
        raw = self._raw.get(name)
        if raw is not None and message[1:2] == b"\x01" and (arrays := raw(message)) is not None:
            return arrays
        return self._extract[name](message if self._decode is None else self._decode(name, message))

    def prepare(self) -> None:
        """Decodes the newest message of every stream ahead of the tick that is likely to name it. What cannot be decoded stays for
        `observation` to complain about."""
        for name, kept in self._messages.items():
            stamp = next(reversed(kept), None)
            if stamp is not None and self._prepared.get(name, (-1,))[0] != stamp:
                with contextlib.suppress(ValueError, KeyError):
                    self._prepared[name] = (stamp, self._arrays(name, kept[stamp]))

    def clear(self) -> None:
        self._prepared.clear()
        for kept in self._messages.values():
            kept.clear()
