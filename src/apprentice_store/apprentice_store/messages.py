"""Names of the spine's types, a peek into their CDR without decoding all of it, and core's plain data as messages and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from apprentice_core.cdr import CdrPeek, header_stamp
from apprentice_core.episode import Segment
from apprentice_core.errors import BagError
from apprentice_store.typestore import PACKAGE, make, typestore

EVENT, STEP, TICK, TICK_MISSING = (f"{PACKAGE}/msg/{n}" for n in ("EpisodeEvent", "Step", "Tick", "TickMissing"))
ACTION, APPLIED, REWARD = (f"{PACKAGE}/msg/{n}" for n in ("Action", "Applied", "Reward"))
OBJECTS, SAFETY_EVENT = (f"{PACKAGE}/msg/{n}" for n in ("ObjectStates", "SafetyEvent"))
STRING = "std_msgs/msg/String"
EVENT_TOPIC, STEP_TOPIC, TICK_TOPIC, APPLIED_TOPIC = "episode/event", "step", "tick", "applied"
OBJECTS_TOPIC, REWARD_TOPIC, ACTION_TOPIC = "privileged/objects", "reward/", "action"
MAX_TEXT = 1 << 20
"""characters of a JSON text inside a message; more is refused (ours)"""
SECOND = 1_000_000_000


def time_message(ns: int) -> Any:
    return make("builtin_interfaces/Time", sec=ns // SECOND, nanosec=ns % SECOND)


def first_stamp(msgtype: str, cdr: bytes | memoryview) -> int | None:
    """Nanoseconds of the stamp that a type begins with (its header's, or its own); None for a type that has none, or a cut message."""
    if not _begins_with_stamp(msgtype) or len(cdr) < 12:
        return None
    return header_stamp(cdr)


_STAMPED: dict[str, bool] = {}


def _begins_with_stamp(msgtype: str) -> bool:
    if msgtype not in _STAMPED:
        fields = typestore().fielddefs.get(msgtype, ((), ()))[1]
        first = fields[0][1][1] if fields else ""
        _STAMPED[msgtype] = first in ("std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    return _STAMPED[msgtype]


def owner(msgtype: str, cdr: bytes | memoryview) -> tuple[str, int] | None:
    """(episode id, step id) of an action, applied, reward, step or tick; step id -1 for events; None for every other type.

    ValueError on a malformed message.
    """
    if msgtype not in (ACTION, APPLIED, REWARD, STEP, TICK, SAFETY_EVENT, EVENT):
        return None
    p = CdrPeek(cdr)
    p.number(4), p.number(4)
    if msgtype in (ACTION, APPLIED, REWARD):
        p.text()
        step_id = p.number(8)
        return p.text(), step_id
    if msgtype == STEP:
        episode_id = p.text()
        return episode_id, p.number(8)
    if msgtype == TICK:
        p.number(4), p.number(4)
        episode_id = p.text()
        return episode_id, p.number(8)
    if msgtype == SAFETY_EVENT:
        p.text(), p.text(), p.text(), p.text()
        return p.text(), -1
    p.text()
    return p.text(), -1


def segment_message(segment: Segment) -> Any:
    goal = {k: np.asarray(v, dtype=np.float32).ravel() for k, v in segment.goal.items()}
    return make(
        "Segment", index=segment.index, task=segment.task, mode=segment.mode, direction=segment.direction, scheduler=segment.scheduler,
        scheduler_version=segment.scheduler_version, provenance=segment.provenance, goal_names=list(goal),
        goal_sizes=np.array([len(v) for v in goal.values()], dtype=np.uint32),
        goal_values=np.concatenate(list(goal.values())) if goal else np.zeros(0, np.float32),
    )


def segment_from_message(message: Any) -> Segment:
    """ValueError when the goal's sizes do not add up."""
    sizes = [int(s) for s in message.goal_sizes]
    if len(sizes) != len(message.goal_names) or sum(sizes) != len(message.goal_values):
        raise ValueError("segment: goal_sizes do not fit goal_values")
    ends = np.cumsum([0, *sizes])
    values = np.asarray(message.goal_values, dtype=np.float32)
    goal = {n: values[a:b].copy() for n, a, b in zip(message.goal_names, ends[:-1], ends[1:], strict=True)}
    return Segment(
        int(message.index), message.task, message.mode, message.direction, message.scheduler, message.scheduler_version,
        message.provenance, goal,
    )


def json_object(text: str, what: str) -> dict[str, Any]:
    """A JSON object out of a message; '' is {}. BagError when it is anything else, or too long."""
    if not text:
        return {}
    if len(text) > MAX_TEXT:
        raise BagError(f"{what}: longer than {MAX_TEXT} characters")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BagError(f"{what}: is not JSON ({str(error)[:100]})") from error
    if not isinstance(value, dict):
        raise BagError(f"{what}: is not a JSON object")
    return value


def float32(values: Any) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)


def to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)
