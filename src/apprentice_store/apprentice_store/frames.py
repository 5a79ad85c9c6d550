"""Single frames of an episode, as the bytes that the bag holds; nothing is decoded (spec 000 line 33: frame numbers come from the bag)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apprentice_core.cell import StreamSpec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.errors import BagError, ConfigError
from apprentice_core.streams import stamp_ns
from apprentice_store import messages as m
from apprentice_store.bag_reader import EpisodeReader, check_png
from apprentice_store.mcap_scan import McapPick
from apprentice_store.typestore import deserialise

CAMERA = "camera/"


class EpisodeFrames:
    """The frames of one episode by camera and index: frame t is the observation that action t answered, the last follows the last action.

    `cameras`: (height, width) by name. What is kept is the file's mapping and an index of stamps, some hundred bytes a message.
    """

    def __init__(self, reader: EpisodeReader):
        self.reader = reader
        self.frames = len(reader.parts)
        present = set().union(*reader.parts) if reader.parts else set()
        self._streams = {s.name.removeprefix(CAMERA): s for s in reader.spec.streams if s.name.startswith(CAMERA) and s.name in present}
        self.cameras: dict[str, tuple[int, int]] = {n: (s.arrays[0].shape[0], s.arrays[0].shape[1]) for n, s in self._streams.items()}
        self._stamps: dict[str, list[int]] = {}
        self._messages = {n: reader.by_stamp(s.topic) for n, s in self._streams.items()}
        for name, stream in self._streams.items():
            # Of a stream that was silent at a step, the observation keeps the frame before (see EpisodeReader).
            stamps, last = [], 0
            for parts in reader.parts:
                last = stamp_ns(parts[stream.name].stamp) if stream.name in parts else last
                stamps.append(last)
            self._stamps[name] = stamps

    def is_depth(self, camera: str) -> bool:
        """True for a camera whose pixels are uint16 millimetres."""
        return self._streams[camera].arrays[0].dtype == "uint16"

    def png(self, camera: str, frame: int) -> bytes:
        """The PNG of a frame; KeyError for a camera that the episode lacks, IndexError for a frame, BagError for a damaged one."""
        stream, stamps = self._streams[camera], self._stamps[camera]
        if not 0 <= frame < self.frames:
            raise IndexError(frame)
        if self.reader.types.get(self.reader.prefix + stream.topic) != stream.type:
            raise BagError(f"{self.reader.path}: {stream.topic} is not a {stream.type}")
        cdr = self._messages[camera].get(stamps[frame])
        if cdr is None:
            raise BagError(f"{self.reader.path}: lacks the frame of {camera} at step {frame}")
        try:
            return _png(stream, cdr)
        except (BagError, ValueError) as error:
            raise BagError(f"{self.reader.path}: step {frame}: {' '.join(str(error).split())}") from error


def _png(stream: StreamSpec, cdr: memoryview) -> bytes:
    data = np.asarray(deserialise(stream.type, cdr).data, dtype=np.uint8)
    check_png(data, stream.arrays[0])
    return data.tobytes()


def middle_frame(bag: Path) -> bytes | None:
    """The PNG of a bag's first colour camera (depth where there is no other) that its middle step answered.

    None where it holds no camera or no step, BagError where it is damaged. Of a bag of any length one step and one picture are read.
    """
    files = [f for f in bag.glob("*.mcap") if f.is_file() and not f.is_symlink()]
    if len(files) != 1:
        raise BagError(f"{bag}: holds {len(files)} MCAP files, expected one")
    pick = McapPick(files[0])
    try:
        return _middle(pick)
    except (BagError, ConfigError, ValueError) as error:
        raise BagError(f"{bag}: {' '.join(str(error).split())}") from error


def _middle(pick: McapPick) -> bytes | None:
    specs = [t for t, kind in pick.types.items() if t.endswith("/" + CELL_SPEC_TOPIC) and kind == m.STRING]
    if len(specs) != 1:
        raise BagError(f"{len(specs)} cells in one bag, expected one")
    prefix = specs[0].removesuffix(CELL_SPEC_TOPIC)
    spec, _ = cell_spec_from_json(deserialise(m.STRING, pick.cdr(specs[0], pick.entries(specs[0])[-1])).data)
    streams = [s for s in spec.streams if s.name.startswith(CAMERA) and pick.types.get(prefix + s.topic) == s.type]
    if not streams or pick.types.get(prefix + m.STEP_TOPIC) != m.STEP:
        return None
    stream = min(streams, key=lambda s: (s.arrays[0].dtype == "uint16", s.name))
    steps, pictures = pick.entries(prefix + m.STEP_TOPIC), pick.entries(prefix + stream.topic)
    middle = steps[len(steps) // 2]
    step = deserialise(m.STEP, pick.cdr(prefix + m.STEP_TOPIC, middle))
    seen = next((stamp_ns(p.stamp) for p in step.parts if p.stream == stream.name), stamp_ns(step.stamp))
    # What a step answered was recorded before it, and little came between.
    number = max(0, int(np.searchsorted(pictures[:, 0], middle[0], side="right")) - 1)
    while number and (m.first_stamp(stream.type, pick.cdr(prefix + stream.topic, pictures[number])) or 0) > seen:
        number -= 1
    return _png(stream, pick.cdr(prefix + stream.topic, pictures[number]))
