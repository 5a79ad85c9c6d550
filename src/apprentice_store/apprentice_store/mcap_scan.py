"""Reads an MCAP file front to back without trusting it: every length is checked against what is there.

The libraries' readers take the summary's word and, in a cut file, return short records without an error; a torn bag must give exactly its
whole chunks, and a hostile one an error in one line.
"""

from __future__ import annotations

import itertools
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame
import numpy as np
import zstandard

from apprentice_core.errors import BagError
from apprentice_store.mcap_file import MAGIC

MAX_CHUNK = 256 << 20
"""uncompressed bytes of a chunk; more is refused (ours)"""
MAX_FILE = 16 << 30
"""bytes of a bag that is read; more is refused (ours)"""
_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_INDEX = struct.Struct("<HI")
_SCHEMA, _CHANNEL, _MSG, _CHUNK, _MESSAGE_INDEX, _DATA_END, _FOOTER = 3, 4, 5, 6, 7, 15, 2


@dataclass
class ScannedChannel:
    """A channel with its schema: type name and ros2msg text."""

    id: int
    topic: str
    type: str
    encoding: str
    schema_text: str
    metadata: dict[str, str] = field(default_factory=dict)


class _Fields:
    """A cursor over one record; running past its end is a BagError."""

    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "little")

    def raw(self, size: int) -> memoryview:
        if size > len(self.data) - self.at:
            raise BagError("a record is shorter than its fields")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        return str(self.raw(self.number(4)), "utf-8")

    def texts(self) -> dict[str, str]:
        end = self.number(4) + self.at
        out = {}
        while self.at < end:
            key = self.text()
            out[key] = self.text()
        return out


class McapScan:
    """Iterating gives (channel, log time in ns, CDR bytes as a view into the file) in file order.

    `strict`: anything torn raises BagError. Otherwise iteration ends at the first torn record and `fault` says what it was.
    """

    def __init__(self, path: Path, strict: bool = True):
        self.path, self.strict = path, strict
        self.fault = ""
        self.channels: dict[int, ScannedChannel] = {}
        self._schemas: dict[int, tuple[str, str]] = {}
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size > MAX_FILE:
                    raise BagError(f"{path}: larger than {MAX_FILE} bytes")
                self._map = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        except OSError as error:
            raise BagError(f"{path}: cannot be read ({error.strerror})") from error

    def __iter__(self) -> Iterator[tuple[ScannedChannel, int, memoryview]]:
        try:
            if bytes(self._map[: len(MAGIC)]) != MAGIC:
                raise BagError("not an MCAP file")
            yield from self._data_section()
        except (BagError, struct.error, UnicodeDecodeError, zstandard.ZstdError, RuntimeError, ValueError) as error:
            self.fault = f"{self.path}: {error}"
            if self.strict:
                raise BagError(self.fault) from error

    def _data_section(self) -> Iterator[tuple[ScannedChannel, int, memoryview]]:
        ended = False
        for opcode, body in self._records(self._map, len(MAGIC)):
            if opcode == _CHUNK:
                yield from self._messages(self._records(self._chunk(body), 0))
            elif opcode == _FOOTER:
                if bytes(self._map[-len(MAGIC) :]) != MAGIC:
                    raise BagError("torn: the closing magic is missing")
                return
            elif opcode == _DATA_END:
                ended = True
            elif not ended:
                yield from self._messages(iter([(opcode, body)]))
        raise BagError("torn: ends before its footer")

    def _records(self, data: memoryview, at: int) -> Iterator[tuple[int, memoryview]]:
        end = len(data)
        while at < end:
            if end - at < 9:
                raise BagError(f"torn: ends inside a record at byte {at}")
            opcode, length = _HEAD.unpack_from(data, at)
            if length > end - at - 9:
                raise BagError(f"torn: ends inside a record at byte {at}")
            yield opcode, data[at + 9 : at + 9 + length]
            if opcode == _FOOTER:
                return
            at += 9 + length

    def _chunk(self, body: memoryview) -> memoryview:
        f = _Fields(body)
        f.raw(16)
        size, crc = f.number(8), f.number(4)
        compression = f.text()
        data = f.raw(f.number(8))
        if size > MAX_CHUNK:
            raise BagError(f"a chunk claims {size} bytes, more than {MAX_CHUNK}")
        if compression == "zstd":
            data = memoryview(_zstd(data, size))
        elif compression == "lz4":
            data = memoryview(lz4.frame.LZ4FrameDecompressor().decompress(bytes(data), max_length=size))
        elif compression:
            raise BagError(f"unknown compression {compression[:20]!r}")
        if len(data) != size:
            raise BagError(f"a chunk holds {len(data)} bytes and claims {size}")
        if crc and zlib.crc32(data) != crc:
            raise BagError("a chunk's CRC does not match: the file was changed or damaged")
        return data

    def _messages(self, records: Iterator[tuple[int, memoryview]]) -> Iterator[tuple[ScannedChannel, int, memoryview]]:
        for opcode, body in records:
            if opcode == _MSG:
                number, _, log_time, _ = _MESSAGE.unpack_from(body, 0)
                channel = self.channels.get(number)
                if channel is None:
                    raise BagError(f"a message names channel {number}, which is not declared")
                yield channel, log_time, body[_MESSAGE.size :]
            elif opcode == _SCHEMA:
                f = _Fields(body)
                number, name, encoding = f.number(2), f.text(), f.text()
                self._schemas[number] = (name, str(f.raw(f.number(4)), "utf-8") if encoding == "ros2msg" else "")
            elif opcode == _CHANNEL:
                f = _Fields(body)
                number, schema = f.number(2), f.number(2)
                name, text = self._schemas.get(schema, ("", ""))
                self.channels.setdefault(number, ScannedChannel(number, f.text(), name, f.text(), text, f.texts()))


class McapPick(McapScan):
    """Single messages of a whole file, found by the index behind each chunk: what it costs goes with the chunks, not with the messages.

    `types`: by topic. BagError for a torn file, and for an index that does not lead to a message of its channel.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self._chunks: list[memoryview] = []
        self._open: tuple[int, memoryview] = (-1, memoryview(b""))
        self._indexes: dict[int, list[tuple[int, memoryview]]] = {}
        try:
            if bytes(self._map[: len(MAGIC)]) != MAGIC or bytes(self._map[-len(MAGIC) :]) != MAGIC:
                raise BagError("torn, or not an MCAP file")
            for opcode, body in self._records(self._map, len(MAGIC)):
                if opcode == _CHUNK:
                    self._chunks.append(body)
                elif opcode == _MESSAGE_INDEX:
                    channel, size = _INDEX.unpack_from(body)
                    if size != len(body) - _INDEX.size or size % 16 or not self._chunks:
                        raise BagError("an index is not of whole entries behind a chunk")
                    if size:
                        self._indexes.setdefault(channel, []).append((len(self._chunks) - 1, body[_INDEX.size :]))
                elif opcode in (_SCHEMA, _CHANNEL):
                    # The summary repeats what the chunks declare.
                    list(self._messages(iter([(opcode, body)])))
        except (BagError, struct.error, UnicodeDecodeError, ValueError) as error:
            raise BagError(f"{path}: {error}") from error
        self._numbers = {c.topic: c.id for c in self.channels.values() if c.id in self._indexes}
        self.types = {topic: self.channels[number].type for topic, number in self._numbers.items()}

    def entries(self, topic: str) -> np.ndarray:
        """int64 [messages, 3] of log time in ns, chunk, and place in it, in file order."""
        parts = [(chunk, np.frombuffer(packed, "<i8").reshape(-1, 2)) for chunk, packed in self._indexes[self._numbers[topic]]]
        return np.concatenate([np.insert(pairs, 1, chunk, axis=1) for chunk, pairs in parts])

    def cdr(self, topic: str, entry: np.ndarray) -> memoryview:
        """The CDR bytes of a topic's message, one of `entries`, as a view."""
        chunk, at = int(entry[1]), int(entry[2])
        try:
            if chunk != self._open[0]:
                self._open = chunk, self._chunk(self._chunks[chunk])
            data = self._open[1]
            if not 0 <= at < len(data):
                raise BagError("an index leads out of its chunk")
            found = list(self._messages(itertools.islice(self._records(data, at), 1)))
        except (BagError, struct.error, zstandard.ZstdError, RuntimeError, ValueError) as error:
            raise BagError(f"{self.path}: {error}") from error
        if not found or found[0][0].topic != topic:
            raise BagError(f"{self.path}: an index of {topic[:100]} leads to something else")
        return found[0][2]


def _zstd(data: memoryview, size: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data)
    return reader.read(size)
