"""SimCell's way to bags: the same topics and messages as over ROS, written from data in this process."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np

from apprentice_core.cell import CellSpec
from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_to_json
from apprentice_core.config import load_robot
from apprentice_core.episode import ACTION_KINDS, EpisodeContext, EpisodeOutcome, RewardValue, Segment, StepRecord
from apprentice_core.errors import BagError
from apprentice_core.images import encode_png
from apprentice_core.spaces import Observation
from apprentice_core.streams import CONNECTED, JointNames
from apprentice_store import messages as m
from apprentice_store.bag_metadata import TopicQos
from apprentice_store.bag_writer import BagWriter, CommittedBag
from apprentice_store.store import Store
from apprentice_store.typestore import full_name, make, serialise

FLUSH_PERIOD = 0.5
"""seconds between flushes: what a kill can lose (ours)"""
_SENSOR, _SPINE, _LATCHED = TopicQos(100), TopicQos(1000), TopicQos(1, latched=True)


class BagSink:
    """An EpisodeSink (core cell.py): one committed bag and one catalogue row an episode.

    `robot` gives the joint names; the profile that the spec names where None. The context's metadata goes into the start event; of it,
    "reset_mode" and "continues" have fields of their own, and "tags" (a list) become tags of the row.
    """

    def __init__(self, store: Store, robot: JointNames | None = None):
        self.store = store
        self._robot = robot
        self._writer: BagWriter | None = None

    def start(self, context: EpisodeContext, spec: CellSpec) -> None:
        robot = self._robot if self._robot is not None else load_robot(spec.robot)
        self.context, self.spec, self._robot = context, spec, robot
        self._prefix = f"/{spec.name.strip('/')}/"
        self._writer = BagWriter(self.store.folder, context.episode_id, {
            "episode_id": context.episode_id, "kind": context.kind, "task": context.task, "cell": spec.name,
        })
        self._spec_json = cell_spec_to_json(spec, robot)
        self._segment: Segment | None = None
        self._steps: list[StepRecord] = []
        self._bundle_id = ""
        self._flushed = time.monotonic()

    def _put(self, topic: str, msgtype: str, ns: int, qos: TopicQos, **fields: Any) -> None:
        writer, name = self._open_writer(), self._prefix + topic
        msgtype = full_name(msgtype)
        if name not in writer:
            writer.add_topic(name, msgtype, qos)
        writer.write(name, ns, serialise(msgtype, make(msgtype, **fields)))

    def _open_writer(self) -> BagWriter:
        if self._writer is None:
            raise BagError("no episode was started")
        return self._writer

    def _header(self, ns: int, frame: str = "") -> Any:
        return make("std_msgs/Header", stamp=m.time_message(ns), frame_id=frame)

    def _event(self, ns: int, event: str, **fields: Any) -> None:
        c, meta = self.context, self.context.metadata
        self._put(
            m.EVENT_TOPIC, m.EVENT, ns, _SPINE, stamp=m.time_message(ns), event=event, episode_id=c.episode_id, kind=c.kind, task=c.task,
            source=c.source, bundle_id=self._bundle_id, reset_mode=str(meta.get("reset_mode", "")), initial_state=c.initial_state,
            seed=-1 if c.seed is None else c.seed, continues=str(meta.get("continues", "")), metadata=m.to_json(meta), **fields,
        )

    def _observation(self, observation: Observation, ns: int) -> list[Any]:
        parts = []
        for stream in self.spec.streams:
            fields = {a.name: observation[a.name] for a in stream.arrays}
            self._put(stream.topic, stream.type, ns, _SENSOR, **self._stream_fields(stream.name, fields, ns))
            parts.append(make("ObservationPart", stream=stream.name, topic=stream.topic, stamp=m.time_message(ns)))
        return parts

    def _stream_fields(self, name: str, arrays: dict[str, np.ndarray], ns: int) -> dict[str, Any]:
        if name in ("joints", "gripper"):
            joints = self._robot.arm_joints if name == "joints" else self._robot.gripper.joints  # type: ignore[union-attr]
            values = {k: np.asarray(arrays[f"{name}/{k}"], dtype=np.float64) for k in ("position", "velocity", "effort")}
            return {"header": self._header(ns), "name": list(joints), **values}
        if name.startswith("camera/"):
            image = arrays[name]
            form = "16UC1; png compressed" if image.ndim == 2 else "rgb8; png compressed bgr8"
            data = np.frombuffer(encode_png(image), dtype=np.uint8)
            return {"header": self._header(ns, f"{name.removeprefix('camera/')}_optical"), "format": form, "data": data}
        if name == "connection":
            return {"header": self._header(ns), "connected": bool(arrays[CONNECTED][0])}
        v = [float(x) for x in arrays[name]]
        if name == "tool/pose":
            return {"header": self._header(ns, self.spec.base_frame), "pose": _pose(v)}
        if name == "tool/twist":
            return {"header": self._header(ns, self.spec.base_frame), "twist": _twist(v)}
        wrench = make("geometry_msgs/Wrench", force=_vector(v[:3]), torque=_vector(v[3:]))
        return {"header": self._header(ns, self.spec.tool_frame), "wrench": wrench}

    def _objects(self, privileged: Any, ns: int) -> None:
        names = sorted({k[len("object/") : -len("/pose")] for k in privileged if k.startswith("object/") and k.endswith("/pose")})
        if names:
            self._put(
                m.OBJECTS_TOPIC, m.OBJECTS, ns, _SENSOR, header=self._header(ns, self.spec.base_frame), names=names,
                poses=[_pose([float(x) for x in privileged[f"object/{n}/pose"]]) for n in names],
                twists=[_twist([float(x) for x in privileged.get(f"object/{n}/twist", np.zeros(6))]) for n in names],
            )

    def _tick(self, ns: int, step_id: int, step: int, parts: list[Any], segment: Segment, final: bool) -> None:
        self._put(
            m.TICK_TOPIC, m.TICK, ns, _SPINE, stamp=m.time_message(ns), deadline=m.time_message(ns), episode_id=self.context.episode_id,
            step_id=step_id, step=step, final=final, missing=np.zeros(len(parts), dtype=np.bool_), sources=[self.context.source],
            segment=m.segment_message(segment), parts=parts,
        )

    def step(self, observation: Observation, record: StepRecord, stamp: float) -> None:
        """One step that has run; `observation` is what it answered, acquired at `stamp` (s)."""
        ns = round(stamp * m.SECOND)
        if self._segment is None:
            self._bundle_id = record.bundle_id
            self._put(CELL_SPEC_TOPIC, m.STRING, ns, _LATCHED, data=self._spec_json)
            self._event(ns, "start", segment=m.segment_message(record.segment))
        elif record.segment.index != self._segment.index:
            self._event(ns, "segment", segment=m.segment_message(record.segment))
        self._segment = record.segment
        self._steps.append(record)
        parts = self._observation(observation, ns)
        self._objects(record.privileged, ns)
        self._tick(ns, record.step_id, record.step, parts, record.segment, False)
        self._spine(record, ns, parts)
        if time.monotonic() - self._flushed > FLUSH_PERIOD:
            self._open_writer().flush()
            self._flushed = time.monotonic()

    def _spine(self, r: StepRecord, ns: int, parts: list[Any]) -> None:
        episode_id, header = self.context.episode_id, self._header(ns)
        a = {k: m.float32(r.actions[k]) for k in ACTION_KINDS if k in r.actions}
        times = {
            k: m.time_message(getattr(r, k)) for k in ("received", "inference_start", "inference_end", "sent", "applied")
        }
        answer = {k: times[k] for k in ("received", "inference_start", "inference_end")}
        self._put(
            f"{m.ACTION_TOPIC}/{r.actor}", m.ACTION, ns, _SPINE, header=header, step_id=r.step_id, episode_id=episode_id, source=r.actor,
            action_space=r.action_space, action_space_hash=r.action_space_hash, values=a["source"], noise=a["noise"],
            bundle_id=r.bundle_id, observation_digest=r.digest, fault=r.fault, **answer,
        )
        stages = [
            make("Stage", name=s.name, before=np.asarray(s.before, np.float64).ravel(), after=np.asarray(s.after, np.float64).ravel(),
                 changed=bool(s.changed), reason=s.reason)
            for s in r.stages
        ]
        self._put(
            m.APPLIED_TOPIC, m.APPLIED, ns, _SPINE, header=header, step_id=r.step_id, episode_id=episode_id, outcome=r.outcome,
            reason=r.reason, source=r.actor, mixed=a["mixed"], executed=a["executed"], stages=stages, received=times["sent"],
            applied=times["applied"],
        )
        by_source: dict[str, dict[str, RewardValue]] = defaultdict(dict)
        for key, value in r.rewards.items():
            source, _, name = key.partition("/")
            by_source[source][name] = value
        for source, named in by_source.items():
            values = list(named.values())
            self._put(
                f"{m.REWARD_TOPIC}{source}", m.REWARD, ns, _SPINE, header=header, step_id=r.step_id, episode_id=episode_id, source=source,
                model_id=values[0].model_id, names=list(named), values=m.float32([v.value for v in values]),
                probabilities=m.float32([v.probability for v in values]), valid=np.array([v.valid for v in values], np.bool_),
                terminal=any(v.terminal for v in values), success=any(v.success for v in values),
            )
        self._put(
            m.STEP_TOPIC, m.STEP, ns, _SPINE, stamp=m.time_message(ns), episode_id=episode_id, step_id=r.step_id, step=r.step,
            segment=r.segment.index, mode=r.segment.mode, scheduler_version=r.segment.scheduler_version, actor=r.actor,
            intervention=r.intervention, parts=parts, action_space=r.action_space, action_space_hash=r.action_space_hash, **a,
            discount=float(r.discount), outcome=r.outcome, reason=r.reason, bundle_id=r.bundle_id, observation_digest=r.digest,
            acquired=m.time_message(ns), **times,
        )

    def end(self, observation: Observation, outcome: EpisodeOutcome, stamp: float) -> str:
        """Writes the observation after the last action and the end event, commits; returns the bag's path."""
        ns = round(stamp * m.SECOND)
        writer = self._open_writer()
        if self._segment is None:
            writer.abandon("the episode had no step")
            self._writer = None
            raise BagError(f"{writer.folder}: the episode had no step")
        parts = self._observation(observation, ns)
        last = self._steps[-1]
        self._objects(last.next_privileged, ns)
        self._tick(ns, last.step_id + 1, last.step + 1, parts, self._segment, True)
        self._event(
            ns, "end", parts=parts, steps=len(self._steps), terminated=outcome.terminated, truncated=outcome.truncated,
            reason=outcome.reason, success=-1 if outcome.success is None else int(outcome.success),
            segment=m.segment_message(self._segment),
        )
        self._writer = None
        bag: CommittedBag = writer.commit({"lost": "0"})
        self.store.commit(bag.path)
        return str(bag.path)

    def abort(self, reason: str) -> None:
        """Closes an unfinished episode without committing it (an error, Ctrl-C)."""
        if self._writer is not None:
            self._writer.abandon(reason)
            self._writer = None


def _vector(v: list[float]) -> Any:
    return make("geometry_msgs/Vector3", x=v[0], y=v[1], z=v[2])


def _pose(v: list[float]) -> Any:
    return make(
        "geometry_msgs/Pose", position=make("geometry_msgs/Point", x=v[0], y=v[1], z=v[2]),
        orientation=make("geometry_msgs/Quaternion", x=v[3], y=v[4], z=v[5], w=v[6]),
    )


def _twist(v: list[float]) -> Any:
    return make("geometry_msgs/Twist", linear=_vector(v[:3]), angular=_vector(v[3:]))
