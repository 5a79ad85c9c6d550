"""Bags that were recorded when one of our message types had another definition.

A bag carries the definitions of its types. A message of an older one is read by it and written anew by today's: fields keep their values,
what has been added is zero, empty or false, as in a message whose sender does not know it. A field that has changed its type makes the bag
unreadable, and so does a definition that is not the one whose hash the bag names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from apprentice_core.errors import BagError
from apprentice_store.typestore import MAX_SEQUENCE, PACKAGE, default, deserialise, known, serialise, type_hash, typestore

MAX_TEXT = 1 << 16
"""characters of a definition; more is refused (ours)"""
KEPT = 32
"""definitions kept ready (ours)"""

Rewrite = Callable[[bytes | memoryview], bytes]


def rewriter(msgtype: str, metadata: Mapping[str, str], text: str) -> Rewrite | None:
    """What makes today's CDR bytes of those of a channel with this metadata and definition; None where they are today's already.

    BagError when today's type cannot hold what was recorded. The rewriter raises ValueError for a malformed message.
    """
    recorded = metadata.get("topic_type_hash", "")
    if not recorded or not known(msgtype) or recorded == type_hash(msgtype):
        return None
    return _rewriter(msgtype, recorded, text)


@lru_cache(KEPT)
def _rewriter(msgtype: str, recorded: str, text: str) -> Rewrite:
    older = _store(msgtype, recorded, text)
    _check(older, msgtype, msgtype)
    return lambda cdr: serialise(msgtype, _carry_over(older, msgtype, deserialise(msgtype, cdr, older)))


def _store(msgtype: str, recorded: str, text: str) -> Typestore:
    """The common interfaces and our types as the bag defines them."""
    changed = f"{msgtype} was recorded in another version of its definition"
    if not msgtype.startswith(PACKAGE + "/") or len(text) > MAX_TEXT:
        raise BagError(changed)
    store = get_typestore(Stores.ROS2_JAZZY)
    store.max_sequence_length = MAX_SEQUENCE
    try:
        store.register({k: v for k, v in get_types_from_msg(text, msgtype).items() if k.startswith(PACKAGE + "/")})
        found = store.hash_rihs01(msgtype)
    except (TypesysError, KeyError, ValueError, AssertionError, RecursionError) as error:
        raise BagError(f"{changed}, which cannot be read ({' '.join(str(error).split())[:100]})") from error
    if found != recorded:
        raise BagError(f"{changed}, and is not defined as its hash says")
    return store


def _check(older: Typestore, msgtype: str, path: str) -> None:
    """BagError naming the first field whose type is another now."""
    before = dict(older.fielddefs[msgtype][1])
    for name, today in typestore().fielddefs[msgtype][1]:
        if name not in before:
            continue
        if before[name] != today:
            raise BagError(f"{path}.{name} was recorded as another type than it has now")
        nested = _nested(today)
        if nested:
            _check(older, nested, f"{path}.{name}")


def _nested(definition: Any) -> str:
    """Our type that a field is, or is a sequence of; or empty."""
    kind, value = definition
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        kind, value = value[0]
    return str(value) if kind == Nodetype.NAME and value.startswith(PACKAGE + "/") else ""


def _carry_over(older: Typestore, msgtype: str, message: Any) -> Any:
    before = {name for name, _ in older.fielddefs[msgtype][1]}
    values: dict[str, Any] = {}
    for name, definition in typestore().fielddefs[msgtype][1]:
        if name not in before:
            values[name] = default(definition)
            continue
        value, nested = getattr(message, name), _nested(definition)
        if nested:
            value = [_carry_over(older, nested, v) for v in value] if isinstance(value, list) else _carry_over(older, nested, value)
        values[name] = value
    return typestore().types[msgtype](**values)
