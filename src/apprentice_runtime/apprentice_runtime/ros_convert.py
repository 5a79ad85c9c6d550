"""Between the runtime's plain data and messages. Message arrays are filled from numpy buffers, never from lists."""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from apprentice_core.assembler import Part
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.ros_time import to_time
from apprentice_core.spaces import ActionSpace
from apprentice_core.streams import stamp_ns
from apprentice_interfaces.msg import Action, Applied, CarriedPart, EpisodeEvent, ObservationPart, Reward, Step, Tick
from apprentice_interfaces.msg import Segment as SegmentMsg
from apprentice_runtime.tick import EMPTY, Answer, AppliedAnswer, EventData, RewardAnswer, StepData, TickPlan


def wall_time() -> Time:
    """The wall clock, for stamps that measure latency."""
    return to_time(time.time_ns())


def floats(values: np.ndarray) -> array[float]:
    """float32 [N] -> what a float32[] field takes without a copy per element."""
    out = array("f")
    out.frombytes(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    return out


def from_floats(values: Sequence[float]) -> np.ndarray:
    """A float32[] field -> float32 [N]; an empty one gives the shared empty array."""
    return np.array(values, dtype=np.float32) if len(values) else EMPTY


def segment_to_msg(segment: Segment) -> SegmentMsg:
    goal = [np.asarray(v, dtype=np.float32).ravel() for v in segment.goal.values()]
    return SegmentMsg(
        index=segment.index, task=segment.task, mode=segment.mode, direction=segment.direction, scheduler=segment.scheduler,
        scheduler_version=segment.scheduler_version, provenance=segment.provenance, goal_names=list(segment.goal),
        goal_sizes=[g.size for g in goal], goal_values=floats(np.concatenate(goal) if goal else EMPTY),
    )


def segment_from_msg(m: SegmentMsg) -> Segment:
    """Goal arrays come back flat, float32 [size]. ValueError when the sizes do not add up."""
    values = from_floats(m.goal_values)
    if sum(m.goal_sizes) != values.size or len(m.goal_sizes) != len(m.goal_names):
        raise ValueError(f"segment: goal_sizes {list(m.goal_sizes)} do not fit {values.size} goal_values and {len(m.goal_names)} names")
    edges = np.cumsum([0, *m.goal_sizes])
    goal = {n: values[a:b] for n, a, b in zip(m.goal_names, edges[:-1], edges[1:], strict=True)}
    return Segment(m.index, m.task, m.mode, m.direction, m.scheduler, m.scheduler_version, m.provenance, goal)


def part_to_msg(p: Part) -> ObservationPart:
    return ObservationPart(stream=p.stream, topic=p.topic, stamp=to_time(p.stamp))


def part_from_msg(m: ObservationPart) -> Part:
    return Part(m.stream, m.topic, stamp_ns(m.stamp))


def tick_to_msg(t: TickPlan) -> Tick:
    return Tick(
        stamp=to_time(t.stamp), deadline=to_time(t.deadline), episode_id=t.episode_id, step_id=t.step_id, step=t.step, final=t.final,
        missing=list(t.missing), sources=list(t.sources), reward_sources=list(t.reward_sources), segment=segment_to_msg(t.segment),
        parts=[part_to_msg(p) for p in t.parts],
        carried=[CarriedPart(stream=stream, message=array("B", raw)) for stream, raw in t.carried.items()],
    )


def tick_from_msg(m: Tick) -> TickPlan:
    return TickPlan(
        stamp_ns(m.stamp), stamp_ns(m.deadline), m.episode_id, m.step_id, m.step, m.final, tuple(m.sources), tuple(m.reward_sources),
        segment_from_msg(m.segment), tuple(part_from_msg(p) for p in m.parts), tuple(m.missing),
        {c.stream: c.message.tobytes() for c in m.carried},
    )


def action_to_msg(a: Answer) -> Action:
    message = Action(
        step_id=a.step_id, episode_id=a.episode_id, source=a.source, action_space=a.action_space, action_space_hash=a.action_space_hash,
        values=floats(a.values), noise=floats(a.noise), base=floats(a.base), residual=floats(a.residual), engaged=a.engaged,
        request_end=a.request_end, bundle_id=a.bundle_id, observation_digest=a.digest, fault=a.fault, received=to_time(a.received),
        inference_start=to_time(a.inference_start), inference_end=to_time(a.inference_end),
    )
    message.header.stamp = to_time(a.stamp)
    return message


def action_from_msg(m: Action, sent: int = 0) -> Answer:
    """`sent`: wall-clock nanoseconds of publication (the middleware's source timestamp)."""
    return Answer(
        step_id=m.step_id, episode_id=m.episode_id, source=m.source, values=from_floats(m.values), noise=from_floats(m.noise),
        base=from_floats(m.base), residual=from_floats(m.residual), action_space=m.action_space, action_space_hash=m.action_space_hash,
        engaged=m.engaged, request_end=m.request_end, bundle_id=m.bundle_id, digest=m.observation_digest, fault=m.fault,
        stamp=stamp_ns(m.header.stamp), received=stamp_ns(m.received), inference_start=stamp_ns(m.inference_start),
        inference_end=stamp_ns(m.inference_end), sent=sent,
    )


def applied_from_msg(m: Applied) -> AppliedAnswer:
    return AppliedAnswer(
        m.step_id, stamp_ns(m.header.stamp), m.outcome, m.reason, m.source, from_floats(m.mixed), from_floats(m.executed),
        stamp_ns(m.received), stamp_ns(m.applied),
    )


def reward_from_msg(m: Reward) -> RewardAnswer:
    values = {n: float(v) for n, v, ok in zip(m.names, m.values, m.valid, strict=True) if ok}
    return RewardAnswer(m.step_id, m.source, values, m.terminal, m.success)


def step_to_msg(s: StepData, space: ActionSpace) -> Step:
    """Where nobody answered, actions are zeros of the size that was executed and `actor` is 'none'."""
    t, a, done = s.tick, s.answer, s.applied
    zeros = np.zeros(len(done.executed) or space.size, dtype=np.float32)

    def sized(values: np.ndarray) -> np.ndarray:
        return values if values.size == zeros.size else zeros

    message = Step(
        stamp=to_time(t.stamp), episode_id=t.episode_id, step_id=t.step_id, step=t.step, segment=t.segment.index, mode=t.segment.mode,
        scheduler_version=t.segment.scheduler_version, actor=s.actor, intervention=s.intervention, parts=[part_to_msg(p) for p in t.parts],
        action_space=a.action_space if a else space.name, action_space_hash=a.action_space_hash if a else space.hash,
        source=floats(sized(s.wish)), mixed=floats(sized(done.mixed)), executed=floats(sized(done.executed)),
        discount=s.discount, outcome=done.outcome, reason=done.reason, acquired=to_time(s.acquired), applied=to_time(done.applied),
    )
    for name in ("base", "residual", "noise"):
        setattr(message, name, floats(sized(getattr(a, name)) if a else zeros))
    if a:
        message.bundle_id, message.observation_digest = a.bundle_id, a.digest
        message.received, message.sent = to_time(a.received), to_time(a.sent)
        message.inference_start, message.inference_end = to_time(a.inference_start), to_time(a.inference_end)
    return message


def event_to_msg(e: EventData) -> EpisodeEvent:
    return EpisodeEvent(
        stamp=to_time(e.stamp), event=e.event, episode_id=e.episode_id, kind=e.kind, task=e.task, source=e.source, bundle_id=e.bundle_id,
        reset_mode=e.reset_mode, initial_state=e.initial_state, seed=-1 if e.seed is None else e.seed, continues=e.continues,
        metadata=json.dumps(dict(e.metadata), sort_keys=True), segment=segment_to_msg(e.segment), parts=[part_to_msg(p) for p in e.parts],
        steps=e.steps, terminated=e.terminated, truncated=e.truncated, reason=e.reason, success=e.success,
    )


def read_metadata(text: str) -> dict[str, Any]:
    """The JSON object of a goal or a start event; ValueError when it is anything else."""
    if not text:
        return {}
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("metadata is not a JSON object")
    return value


def context_from_start(m: EpisodeEvent) -> EpisodeContext:
    """What a source learns from `episode/event` start."""
    metadata = read_metadata(m.metadata)
    return EpisodeContext(
        episode_id=m.episode_id, task=m.task, kind=m.kind, seed=None if m.seed < 0 else m.seed, source=m.source,
        initial_state=m.initial_state, horizon=int(metadata.get("horizon", 0)), deterministic=bool(metadata.get("deterministic", True)),
        metadata=metadata,
    )
