"""Single frames of an episode, as the bytes that the bag holds; nothing is decoded (spec 000 line 33: frame numbers come from the bag)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apprentice_core.cell import StreamSpec
from apprentice_core.errors import BagError
from apprentice_core.streams import stamp_ns
from apprentice_store import messages as m
from apprentice_store.bag_reader import EpisodeReader, check_png
from apprentice_store.bag_story import BagStory
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
        cdr = self._messages[camera].get(stamps[frame])
        if cdr is None:
            raise BagError(f"{self.reader.path}: lacks the frame of {camera} at step {frame}")
        return _png(self.reader, stream, cdr, f"step {frame}")


def middle_frame(path: Path) -> bytes | None:
    """The PNG of an episode's first colour camera (of its first depth camera where there is no other) that was the newest at the middle
    step; None where it has no camera, BagError for a damaged bag.

    One step and one picture are decoded: a tenth of what opening the whole episode costs.
    """
    files = [f for f in path.glob("*.mcap") if f.is_file() and not f.is_symlink()]
    story = BagStory(path, files[0] if len(files) == 1 else None)
    streams = [s for s in story.spec.streams if s.name.startswith(CAMERA) and story.topics.get(story.prefix + s.topic)]
    if not streams:
        return None
    stream = min(streams, key=lambda s: (s.arrays[0].dtype == "uint16", s.name))
    by_stamp = story.by_stamp(stream.topic)
    if not by_stamp:
        raise BagError(f"{path}: {stream.topic}: no frame with a stamp")
    steps = story.topics.get(story.prefix + m.STEP_TOPIC, ()) if story.types.get(story.prefix + m.STEP_TOPIC) == m.STEP else ()
    try:
        middle = deserialise(m.STEP, steps[len(steps) // 2]) if steps else story.start
    except (BagError, ValueError) as error:
        raise BagError(f"{path}: {' '.join(str(error).split())}") from error
    stamp = stamp_ns(middle.stamp)
    newest = max((s for s in by_stamp if s <= stamp), default=min(by_stamp))
    return _png(story, stream, by_stamp[newest], stream.name)


def _png(story: BagStory, stream: StreamSpec, cdr: memoryview, what: str) -> bytes:
    if story.types.get(story.prefix + stream.topic) != stream.type:
        raise BagError(f"{story.path}: {stream.topic} is not a {stream.type}")
    try:
        data = np.asarray(deserialise(stream.type, cdr).data, dtype=np.uint8)
        check_png(data, stream.arrays[0])
    except (BagError, ValueError) as error:
        raise BagError(f"{story.path}: {what}: {' '.join(str(error).split())}") from error
    return data.tobytes()
