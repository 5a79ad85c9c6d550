"""Appends serialised messages to an MCAP file, fast, with a bound on what a crash can lose.

Why not a library's writer: `mcap.writer.Writer` and `rosbags` close a chunk by size only, so that a slow stream could lose many seconds,
and both spend several times as long on a small message as copying it takes. Here the library's record classes write everything that is
rare (schemas, channels, indexes, footer); only the message record, which is one fixed header, is packed by hand.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from apprentice_core.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
CHUNK_SIZE = 786_432
"""bytes; rosbag2's own chunk size"""

_MESSAGE = struct.Struct("<BQHIQQ")
_MESSAGE_FIXED = 22
_CHUNK = struct.Struct("<BQQQQIIQ")
_CHUNK_FIXED = _CHUNK.size - 9


def file_hash(path: Path) -> str:
    """sha256 of a file as it lies on the disk, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()


class McapFile:
    """One file, one writer. Chunks are uncompressed (images are PNG already) and carry a CRC, which costs about 0.25 ms a MB."""

    def __init__(self, path: Path, library: str, chunk_size: int = CHUNK_SIZE):
        self.path = path
        self.chunk_size = chunk_size
        self.bytes = 0
        self.messages = 0
        self.start_time = 0
        self.end_time = 0
        self.counts: dict[int, int] = {}
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunks: list[ChunkIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._index: dict[int, list[int]] = {}
        # channel to log time, offset, log time, offset ...
        self._file = path.open("xb", buffering=0)
        self._emit(MAGIC + _record(Header("ros2", library)))

    def _emit(self, *parts: bytes) -> int:
        """Appends to the file and returns where; on a failed write cuts the file back to what was whole, closes it and raises BagError."""
        start = self.bytes
        size = sum(map(len, parts))
        try:
            done = os.writev(self._file.fileno(), parts)
            if done < size:
                rest = memoryview(b"".join(parts))[done:]
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            os.ftruncate(self._file.fileno(), start)
            self.close()
            raise BagError(f"{self.path}: cannot be written ({error.strerror}); closed after {start} bytes") from error
        self.bytes += size
        return start

    def add_schema(self, name: str, text: str) -> int:
        """`name` is pkg/msg/Type, `text` a ros2msg definition; returns the schema's id."""
        schema = Schema(id=len(self._schemas) + 1, name=name, encoding="ros2msg", data=text.encode())
        self._schemas.append(schema)
        self._add(_record(schema))
        return schema.id

    def add_channel(self, topic: str, schema: int, metadata: dict[str, str]) -> int:
        channel = Channel(id=len(self._channels) + 1, topic=topic, message_encoding="cdr", metadata=metadata, schema_id=schema)
        self._channels.append(channel)
        self.counts[channel.id] = 0
        self._index[channel.id] = []
        self._add(_record(channel))
        return channel.id

    def _add(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)

    def write(self, channel: int, log_time: int, data: bytes | memoryview) -> None:
        """Adds a message to the open chunk; the chunk goes to the file when it is full, or on `flush`. Times in nanoseconds."""
        length = len(data)
        add_piece, add_index = self._pieces.append, self._index[channel].append
        add_piece(_MESSAGE.pack(5, length + _MESSAGE_FIXED, channel, 0, log_time, log_time))
        add_piece(data)
        add_index(log_time)
        add_index(self._size)
        self._size += length + _MESSAGE.size
        if self._size >= self.chunk_size:
            self.flush()

    def flush(self) -> None:
        """Writes the open chunk and its indexes, in one piece: after that a killed process loses none of it."""
        if not self._pieces:
            return
        body = b"".join(self._pieces)
        used = {c: i for c, i in self._index.items() if i}
        times = [(min(i[::2]), max(i[::2])) for i in used.values()]
        start, end = (min(t[0] for t in times), max(t[1] for t in times)) if times else (0, 0)
        head = _CHUNK.pack(Opcode.CHUNK, _CHUNK_FIXED + len(body), start, end, len(body), zlib.crc32(body), 0, len(body))
        parts, offsets, at = [head, body], {}, self.bytes + len(head) + len(body)
        for channel, index in used.items():
            offsets[channel] = at
            packed = struct.pack(f"<{len(index)}Q", *index)
            record = struct.pack("<BQHI", Opcode.MESSAGE_INDEX, 6 + len(packed), channel, len(packed)) + packed
            parts.append(record)
            at += len(record)
        self._pieces, self._size = [], 0
        where = self._emit(*parts)
        count = 0
        for channel, index in used.items():
            self.counts[channel] += len(index) // 2
            count += len(index) // 2
            self._index[channel] = []
        if times:
            self.start_time = start if not self.messages else min(self.start_time, start)
            self.end_time = max(self.end_time, end)
        self.messages += count
        length = len(head) + len(body)
        self._chunks.append(
            ChunkIndex(
                chunk_length=length, chunk_start_offset=where, compression="", compressed_size=len(body), uncompressed_size=len(body),
                message_start_time=start, message_end_time=end, message_index_length=at - where - length, message_index_offsets=offsets,
            )
        )

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        self.flush()
        data = _record(Metadata(name=name, metadata=values))
        self._metadata.append(MetadataIndex(offset=self._emit(data), length=len(data), name=name))

    def finish(self) -> str:
        """Flushes, writes the summary and the footer, fsyncs and closes. Returns the sha256 of the whole file, hex."""
        self.flush()
        self._emit(_record(DataEnd(data_section_crc=0)))
        summary_start = self.bytes
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, [*self._schemas]), (Opcode.CHANNEL, [*self._channels]), (Opcode.CHUNK_INDEX, [*self._chunks]),
            (Opcode.METADATA_INDEX, [*self._metadata]),
            (Opcode.STATISTICS, [Statistics(
                attachment_count=0, channel_count=len(self._channels), channel_message_counts=dict(self.counts),
                chunk_count=len(self._chunks), message_count=self.messages, message_end_time=self.end_time,
                message_start_time=self.start_time, metadata_count=len(self._metadata), schema_count=len(self._schemas),
            )]),
        ]
        summary, offsets, at = [], [], summary_start
        for opcode, records in groups:
            data = b"".join(map(_record, records))
            if data:
                offsets.append(SummaryOffset(group_opcode=opcode, group_start=at, group_length=len(data)))
                summary.append(data)
                at += len(data)
        tail = b"".join(summary) + b"".join(map(_record, offsets))
        # The CRC of the summary covers the footer too, up to the CRC itself.
        footer = _record(Footer(summary_start=summary_start, summary_offset_start=at, summary_crc=0))
        footer = footer[:-4] + struct.pack("<I", zlib.crc32(footer[:-4], zlib.crc32(tail)))
        self._emit(tail + footer + MAGIC)
        os.fsync(self._file.fileno())
        self.close()
        return file_hash(self.path)

    def close(self) -> None:
        """Closes as it is; what was flushed stays readable by a scan."""
        self._file.close()
