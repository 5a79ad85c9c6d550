"""Writes one rosbag2 folder (MCAP): `<id>.open` while it grows, `<id>` once committed (contract 3)."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from apprentice_core.errors import BagError
from apprentice_store.bag_metadata import DEFAULT_QOS, TopicInfo, TopicQos, describe, fsync_dir, to_yaml, write_durably
from apprentice_store.mcap_file import CHUNK_SIZE, McapFile
from apprentice_store.typestore import definition, type_hash

OPEN = ".open"
TORN = ".torn"
FAULT = "FAULT"
"""file in an `.open` folder that says why the recording stopped"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class CommittedBag:
    """What a commit made."""

    path: Path
    hash: str
    """sha256 of the MCAP file, hex"""
    messages: int
    bytes: int


class BagWriter:
    """A new bag `name` in the folder `root`.

    Messages come serialised (CDR). They reach the file in whole chunks, when one is full or on `flush`; a process killed
    at any moment loses what came since. `commit` closes, fsyncs, writes metadata.yaml, fsyncs the folder and renames it; a folder without
    `.open` is therefore always complete. A failed write (full disk) leaves the whole chunks, marks the folder and raises BagError.
    """

    def __init__(self, root: Path, name: str, custom_data: dict[str, str] | None = None, chunk_size: int = CHUNK_SIZE):
        if not _NAME.fullmatch(name) or name.endswith((OPEN, TORN)):
            raise BagError(f"{name!r} is not a name for a bag")
        self.root, self.name = root, name
        self.folder = root / f"{name}{OPEN}"
        self.custom_data = dict(custom_data or {})
        self._topics: dict[str, tuple[int, str, TopicQos]] = {}
        self._schemas: dict[str, int] = {}
        if (root / name).exists():
            raise BagError(f"{root / name}: exists already; a committed bag is never rewritten")
        try:
            self.folder.mkdir(parents=True)
            self._file = McapFile(self.folder / f"{name}_0.mcap", "apprentice_store", chunk_size)
        except OSError as error:
            raise BagError(f"{self.folder}: cannot be made ({error.strerror})") from error
        self._write = self._file.write
        # `repair` leaves a folder alone while this lock is held; it goes with the process, however that ends.
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    @property
    def size(self) -> int:
        """Bytes in the file so far."""
        return self._file.bytes

    def add_topic(self, topic: str, msgtype: str, qos: TopicQos = DEFAULT_QOS) -> None:
        """Declares an absolute topic; `msgtype` is pkg/msg/Type. Once per topic."""
        if topic in self._topics:
            raise BagError(f"{self.folder}: topic {topic} is declared twice")
        if msgtype not in self._schemas:
            self._schemas[msgtype] = self._file.add_schema(msgtype, definition(msgtype))
        metadata = {"offered_qos_profiles": to_yaml(qos.as_yaml()), "topic_type_hash": type_hash(msgtype)}
        self._topics[topic] = (self._file.add_channel(topic, self._schemas[msgtype], metadata), msgtype, qos)

    def write(self, topic: str, log_ns: int, cdr: bytes | memoryview) -> None:
        """One serialised message at `log_ns`. BagError (and the folder marked) when the disk refuses."""
        try:
            self._write(self._topics[topic][0], log_ns, cdr)
        except BagError as error:
            self._mark(str(error))
            raise

    def flush(self) -> None:
        """Hands the open chunk to the operating system; call at least each 0.5 s."""
        try:
            self._file.flush()
        except BagError as error:
            self._mark(str(error))
            raise

    def _mark(self, reason: str) -> None:
        try:
            (self.folder / FAULT).write_text(f"{reason}\n", encoding="utf-8")
        except OSError:
            # Nothing more fits on the disk; the `.open` suffix alone tells that the bag is not whole.
            return

    def commit(self, custom_data: dict[str, str] | None = None) -> CommittedBag:
        """Makes the bag whole and final. `custom_data` is added to what the constructor got; `hash` is added here."""
        self.custom_data.update(custom_data or {})
        try:
            self.flush()
            counts = self._file.counts
            topics = [TopicInfo(t, m, type_hash(m), q, counts[c]) for t, (c, m, q) in self._topics.items()]
            name = self._file.path.name
            content = describe(name, topics, self._file.start_time, self._file.end_time, self.custom_data)
            self._file.add_metadata("rosbag2", {"serialized_metadata": to_yaml(content["rosbag2_bagfile_information"])})
            digest = self._file.finish()
            content["rosbag2_bagfile_information"]["custom_data"]["hash"] = digest
            write_durably(self.folder / "metadata.yaml", to_yaml(content))
            fsync_dir(self.folder)
            final = self.root / self.name
            self.folder.rename(final)
            fsync_dir(self.root)
        except BagError as error:
            self._mark(str(error))
            raise
        except OSError as error:
            message = f"{self.folder}: cannot be committed ({error.strerror})"
            self._mark(message)
            raise BagError(message) from error
        finally:
            self._release()
        return CommittedBag(final, digest, self._file.messages, self._file.bytes)

    def abandon(self, reason: str) -> None:
        """Closes without committing and says why; the folder stays `.open` for `repair`."""
        # After an earlier failure the file is closed; its whole chunks are kept.
        with suppress(BagError, ValueError):
            self._file.flush()
        self._file.close()
        self._mark(reason)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
