"""metadata.yaml of a rosbag2 folder, version 9, and the quality of service that it records."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apprentice_core.errors import BagError

VERSION = 9
MAX_METADATA = 4 << 20
"""bytes; a larger metadata.yaml is refused (ours)"""
_INFINITE = {"sec": 9223372036, "nsec": 854775807}


@dataclass(frozen=True)
class TopicQos:
    """What a publisher offers, as far as a recording needs it. Defaults: ROS 2's (reliable, volatile, keep last 10)."""

    depth: int = 10
    reliable: bool = True
    latched: bool = False

    def as_yaml(self) -> list[dict[str, Any]]:
        """`offered_qos_profiles` of version 9: a list with enum words, infinite durations."""
        return [{
            "history": "keep_last",
            "depth": self.depth,
            "reliability": "reliable" if self.reliable else "best_effort",
            "durability": "transient_local" if self.latched else "volatile",
            "deadline": dict(_INFINITE),
            "lifespan": dict(_INFINITE),
            "liveliness": "automatic",
            "liveliness_lease_duration": dict(_INFINITE),
            "avoid_ros_namespace_conventions": False,
        }]


DEFAULT_QOS = TopicQos()


@dataclass(frozen=True)
class TopicInfo:
    """A topic as metadata.yaml tells it."""

    name: str
    type: str
    type_hash: str
    qos: TopicQos
    count: int


def describe(
    file: str, topics: list[TopicInfo], start: int, end: int, custom_data: dict[str, str], ros_distro: str = "jazzy"
) -> dict[str, Any]:
    """The content of metadata.yaml for a bag of one file; times in nanoseconds since the epoch."""
    total = sum(t.count for t in topics)
    times = {"duration": {"nanoseconds": max(0, end - start)}, "starting_time": {"nanoseconds_since_epoch": start}}
    return {"rosbag2_bagfile_information": {
        "version": VERSION,
        "storage_identifier": "mcap",
        **times,
        "message_count": total,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": t.name,
                    "type": t.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": t.qos.as_yaml(),
                    "type_description_hash": t.type_hash,
                },
                "message_count": t.count,
            }
            for t in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file],
        "files": [{"path": file, **times, "message_count": total}],
        "custom_data": custom_data,
        "ros_distro": ros_distro,
    }}


# libyaml's, where this PyYAML has it, are ten times faster; a store of hundreds of bags feels that.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _NoAliases(_Dumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_NoAliases, sort_keys=False, width=1000)


def fsync_dir(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, text: str) -> None:
    """Writes beside and renames, so that a reader sees all of it or none."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    with staging.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


def read_metadata(folder: Path) -> dict[str, Any]:
    """`rosbag2_bagfile_information` of a bag; BagError in one line when it is not one of ours."""
    path = folder / "metadata.yaml"
    try:
        if path.stat().st_size > MAX_METADATA:
            raise BagError(f"{path}: larger than {MAX_METADATA} bytes")
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise BagError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BagError(f"{path}: is not YAML ({' '.join(str(error).split())[:200]})") from error
    info = raw.get("rosbag2_bagfile_information") if isinstance(raw, dict) else None
    if not isinstance(info, dict) or info.get("storage_identifier") != "mcap":
        raise BagError(f"{path}: not the metadata of an MCAP rosbag2 folder")
    custom = info.get("custom_data")
    if custom is not None and not (isinstance(custom, dict) and all(isinstance(v, str) for v in custom.values())):
        raise BagError(f"{path}: custom_data: must map names to text")
    return info


def bag_file(folder: Path, info: dict[str, Any]) -> Path:
    """The one MCAP file of a bag; a path that leads out of the folder is refused."""
    files = info.get("relative_file_paths")
    if not isinstance(files, list) or len(files) != 1 or not isinstance(files[0], str):
        raise BagError(f"{folder}: relative_file_paths: expected one file")
    name = files[0]
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise BagError(f"{folder}: relative_file_paths: {name[:100]!r} is not a plain file name")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BagError(f"{path}: missing, or not a plain file")
    return path
