"""Message types without ROS: the `.msg` texts of apprentice_interfaces through a `rosbags` typestore."""

from __future__ import annotations

import os
import re
import struct
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from apprentice_core.errors import ApprenticeError

PACKAGE = "apprentice_interfaces"
MAX_SEQUENCE = 1 << 28
"""items; a longer sequence in a message is refused (ours)"""


def interfaces_dir() -> Path:
    """The folder of our `.msg` texts: beside this package in a checkout, or in the installed share folder."""
    for parent in Path(__file__).resolve().parents:
        if (parent / PACKAGE / "msg").is_dir():
            return parent / PACKAGE / "msg"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        folder = Path(prefix) / "share" / PACKAGE / "msg"
        if prefix and folder.is_dir():
            return folder
    raise ApprenticeError(f"the message definitions of {PACKAGE} were not found: source the workspace (install/setup.bash)")


_BUILDING = threading.Lock()


def typestore() -> Typestore:
    """ROS 2 Jazzy's common interfaces (tf2_msgs among them) and ours."""
    # `cache` alone lets every thread that comes first build one of its own, a fifth of a second each.
    with _BUILDING:
        return _typestore()


@cache
def _typestore() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.max_sequence_length = MAX_SEQUENCE
    types: dict[str, Any] = {}
    for path in sorted(interfaces_dir().glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    store.register(types)
    return store


def full_name(msgtype: str) -> str:
    """'Step' -> 'apprentice_interfaces/msg/Step'; 'std_msgs/String' -> 'std_msgs/msg/String'; full names stay."""
    parts = msgtype.split("/")
    if len(parts) == 1:
        return f"{PACKAGE}/msg/{msgtype}"
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else msgtype


def message_class(msgtype: str) -> type:
    """The dataclass that `rosbags` made for a type; ApprenticeError when the type is unknown."""
    try:
        return typestore().types[full_name(msgtype)]
    except KeyError as error:
        raise ApprenticeError(f"unknown message type {msgtype!r}") from error


def make(msgtype: str, **fields: Any) -> Any:
    """A message with the fields given and zeros, empty strings and empty arrays elsewhere (as a fresh ROS message)."""
    name = full_name(msgtype)
    known = {f for f, _ in typestore().fielddefs[name][1]}
    wrong = sorted(set(fields) - known)
    if wrong:
        raise ApprenticeError(f"{name} has no field {', '.join(wrong)}")
    values = {f: fields[f] if f in fields else default(definition) for f, definition in typestore().fielddefs[name][1]}
    return message_class(name)(**values)


def default(definition: Any) -> Any:
    """What a fresh message holds in a field of this definition (of `Typestore.fielddefs`)."""
    kind, value = definition
    if kind == Nodetype.BASE:
        return {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}.get(value[0], 0)
    if kind == Nodetype.NAME:
        return make(value)
    (item_kind, item), length = value
    size = length if kind == Nodetype.ARRAY else 0
    if item_kind == Nodetype.BASE and item[0] != "string":
        return np.zeros(size, dtype=np.bool_ if item[0] == "bool" else np.dtype("uint8" if item[0] in ("octet", "char") else item[0]))
    return [default((item_kind, item)) for _ in range(size)]


def serialise(msgtype: str, message: Any) -> bytes:
    """CDR bytes (little endian, with the encapsulation header), as rclpy would publish them."""
    return bytes(typestore().serialize_cdr(message, full_name(msgtype)))


def deserialise(msgtype: str, cdr: bytes | memoryview, types: Typestore | None = None) -> Any:
    """The message in CDR bytes, by today's types where no others are given; arrays of numbers come as numpy. Any malformed input raises
    ValueError."""
    try:
        return (types or typestore()).deserialize_cdr(cdr, full_name(msgtype))
    except (SerdeError, AssertionError, IndexError, KeyError, MemoryError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"not a {full_name(msgtype)}: {error}") from error


def definition(msgtype: str) -> str:
    """The `ros2msg` text: the type and all that it depends on, joined by lines of 80 `=` and `MSG: pkg/Type`."""
    text, _ = typestore().generate_msgdef(full_name(msgtype), ros_version=2)
    return re.sub(r"\n+$", "\n", text)


@cache
def type_hash(msgtype: str) -> str:
    """The RIHS01 type hash, equal to what rosidl computes."""
    return typestore().hash_rihs01(full_name(msgtype))


def known(msgtype: str) -> bool:
    return msgtype in typestore().types
