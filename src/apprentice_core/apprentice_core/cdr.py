"""Looks into serialised messages: the first fields, without making objects of all that follows them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_STAMP = struct.Struct("<iI")
_STAMP_BIG = struct.Struct(">iI")


class CdrPeek:
    """Walks CDR fields from the start; little endian only, which is what every ROS 2 machine that we support sends. ValueError on a message
    that is cut or of another order."""

    def __init__(self, cdr: bytes | memoryview):
        if len(cdr) < 4 or not cdr[1] & 1:
            raise ValueError("not little-endian CDR")
        self.data, self.at = memoryview(cdr)[4:], 0

    def number(self, size: int) -> int:
        """An unsigned integer of 1, 2, 4 or 8 bytes."""
        self.at += -self.at % size
        if self.at + size > len(self.data):
            raise ValueError("message ends early")
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def text(self) -> str:
        length = self.number(4)
        if self.at + length > len(self.data):
            raise ValueError("message ends early")
        self.at += length
        return str(self.data[self.at - length : self.at - 1], "utf-8") if length else ""

    def skip(self, size: int) -> None:
        """Over so many bytes."""
        self.at += size


@dataclass(frozen=True)
class TickHead:
    """The fields of a Tick that come before its segment and its parts. `stamp`: ns, node time."""

    stamp: int
    episode_id: str
    step_id: int
    step: int
    final: bool
    sources: tuple[str, ...]


def tick_head(raw: bytes) -> TickHead:
    """Of a serialised Tick."""
    p = CdrPeek(raw)
    stamp = p.number(4) * 1_000_000_000 + p.number(4)
    p.skip(8)  # deadline
    episode_id, step_id, step, final = p.text(), p.number(8), p.number(4), bool(p.number(1))
    p.skip(p.number(4))  # missing
    return TickHead(stamp, episode_id, step_id, step, final, tuple(p.text() for _ in range(p.number(4))))


def header_stamp(raw: bytes | memoryview) -> int:
    """Nanoseconds of the stamp of a serialised message whose first field is a Header or a Time."""
    sec, nanosec = (_STAMP if raw[1] & 1 else _STAMP_BIG).unpack_from(raw, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def header_frame(raw: bytes) -> str:
    """The frame_id of a serialised message whose first field is a Header."""
    (length,) = struct.unpack_from("<I" if raw[1] & 1 else ">I", raw, 12)
    return raw[16 : 16 + length - 1].decode()


def last_doubles(raw: bytes, count: int) -> np.ndarray:
    """The `count` float64 with which a serialised message ends, [count]."""
    return np.frombuffer(raw, "<f8" if raw[1] & 1 else ">f8", count, len(raw) - 8 * count).astype(np.float64)
