"""What a bag tells without its steps: what stands on which topic, start and end, segments, and the cell's spec."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from apprentice_core.cell import CellSpec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, RobotJoints, cell_spec_from_json
from apprentice_core.episode import Segment
from apprentice_core.errors import BagError, ConfigError
from apprentice_store import messages as m
from apprentice_store.bag_metadata import bag_file, read_metadata
from apprentice_store.bag_writer import OPEN, TORN
from apprentice_store.mcap_scan import McapScan
from apprentice_store.typestore import deserialise, known, type_hash


class BagStory:
    """Scans a bag once; BagError, in one line, for one that is damaged or not ours.

    `file`: its MCAP where that is known; metadata.yaml, which costs as much as the scan of a short bag, is then read only if asked for.
    """

    def __init__(self, path: Path, file: Path | None = None):
        self.path = path
        if path.name.endswith((OPEN, TORN)):
            raise BagError(f"{path}: was never committed; run `apprentice store repair`")
        file = file or bag_file(path, self.info)
        try:
            self._scan(file)
            self._story()
        except (BagError, ConfigError, ValueError) as error:
            text = " ".join(str(error).split())
            raise BagError(text if text.startswith(str(path)) else f"{path}: {text}") from error

    @cached_property
    def info(self) -> dict[str, Any]:
        """`rosbag2_bagfile_information` of metadata.yaml."""
        return read_metadata(self.path)

    @cached_property
    def custom(self) -> dict[str, str]:
        return {str(k): str(v) for k, v in (self.info.get("custom_data") or {}).items()}

    def _scan(self, file: Path) -> None:
        self.topics: dict[str, list[memoryview]] = {}
        self.types: dict[str, str] = {}
        for channel, _, cdr in McapScan(file):
            if channel.topic not in self.types:
                self._check_channel(channel.type, channel.encoding, channel.metadata)
                self.types[channel.topic] = channel.type
                self.topics[channel.topic] = []
            elif self.types[channel.topic] != channel.type:
                raise BagError(f"{channel.topic[:100]} has two types")
            self.topics[channel.topic].append(cdr)

    @staticmethod
    def _check_channel(msgtype: str, encoding: str, metadata: dict[str, str]) -> None:
        if encoding != "cdr":
            raise BagError(f"messages are coded as {encoding[:20]!r}, not as cdr")
        recorded = metadata.get("topic_type_hash", "")
        if recorded and known(msgtype) and recorded != type_hash(msgtype):
            raise BagError(f"{msgtype} was recorded in another version of its definition")

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

    def by_stamp(self, topic: str) -> dict[int, memoryview]:
        """CDR by stamp in nanoseconds, of a topic relative to the cell."""
        msgtype = self.types.get(self.prefix + topic, "")
        stamps = ((m.first_stamp(msgtype, c), c) for c in self.topics.get(self.prefix + topic, ()))
        return {s: c for s, c in stamps if s is not None}
