"""Reads the published layout (spec 000 line 30) into bags and rows: what `export_store` wrote bit for bit, the public release as far as
it goes.

Of the release: the arm, the gripper, the wrench and the colour cameras of its Sawyer cell. Left out, because the release does not say what
they hold or we have no place for it: its depth and grey cameras, `gripper/grasp`, `sawyer/tcp/pose`, `sawyer/tcp/effort`. Everything read
is untrusted.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select

from apprentice_core.cell import CellSpec, StreamSpec
from apprentice_core.cell_spec import GripperJoints, RobotJoints, cell_spec_from_json
from apprentice_core.config import Timing
from apprentice_core.episode import ACTION_KINDS, EpisodeContext, EpisodeOutcome, RewardValue, Segment, StepRecord
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_core.images import decode_png
from apprentice_core.spaces import ArraySpec, Observation, cartesian_velocity_gripper, check_observation
from apprentice_core.streams import proprio_streams
from apprentice_store import published_layout as p
from apprentice_store import schema as s
from apprentice_store.bag_reader import MAX_SIDE, MAX_STEPS
from apprentice_store.bag_sink import BagSink
from apprentice_store.bag_writer import OPEN
from apprentice_store.published_export import TransferReport
from apprentice_store.store import TELEOP_SOURCES, Store
from apprentice_store.store_check import claim
from apprentice_store.tf_record import Feature, decode_example, read_records

SAWYER = RobotJoints("sawyer", tuple(f"right_j{i}" for i in range(7)), GripperJoints(("gripper",)))
PERIOD = 0.1
"""seconds; the release's 10 Hz"""
_TYPES = {"EPISODE_ROBOT_TELEOPERATION": "teleop", "EPISODE_ROBOT_DAGGER": "mixed"}
Timestep = dict[str, Feature]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Segment(_Lenient):
    index: int = Field(ge=0)
    task: str
    mode: str
    direction: str
    scheduler: str
    scheduler_version: str
    provenance: str
    goal: dict[str, list[float]]


class _Stamps(_Lenient):
    received: int
    inference_start: int
    inference_end: int
    sent: int
    applied: int


class _Step(_Lenient):
    step_id: int = Field(ge=0)
    segment: int
    actor: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")
    intervention: bool
    outcome: str
    reason: str
    bundle_id: str
    digest: str
    discount: float
    rewards: dict[str, float | None]
    action_space: str
    action_space_hash: str
    stamps: _Stamps


class _Meta(_Lenient):
    kind: str = Field(pattern="^(episode|reset)$")
    task: str
    source: str
    initial_state: str
    seed: int | None
    reset_mode: str
    continues: str
    metadata: dict[str, Any]
    success: bool | None
    terminated: bool
    truncated: bool
    reason: str


class _Head(_Lenient):
    format: int = Field(ge=1, le=1)
    cell_spec: str
    meta: _Meta
    segments: list[_Segment] = Field(min_length=1)
    ticks: list[int]
    judged: bool | None


def import_store(store: Store, folder: Path) -> TransferReport:
    """Every episode of `folder` that is not here yet, as a bag and a row; tags and reward sequences of those that are here too.

    It can be repeated. A damaged episode is reported and left out. ApprenticeError when the folder holds no `metadata.sqlite`.
    """
    report = TransferReport()
    for row in _rows(folder):
        number = str(row["EpisodeId"])
        try:
            episode_id = p.our_id(number)
            if store.catalogue.get(episode_id) is None:
                _import_episode(store, _path(folder, row), episode_id, row)
                _forget_tags(store, episode_id, row["tags"])
                report.episodes.append(episode_id)
            else:
                report.present.append(episode_id)
            report.sequences += _import_said(store, episode_id, row)
        except (ApprenticeError, ValueError) as error:
            report.refused.append((number[:60], " ".join(str(error).split())[:300]))
    return report


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / p.DATABASE
    if not path.is_file():
        raise ApprenticeError(f"{path}: missing; {folder} is no store in the published layout")
    try:
        with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as c:
            c.execute("PRAGMA trusted_schema = OFF")
            c.row_factory = sqlite3.Row
            rows = [dict(r) for r in c.execute("select EpisodeId, TaskId, DataPath, Timestamp, EpisodeType from Episodes")]
            by_id: dict[Any, dict[str, Any]] = {r["EpisodeId"]: {**r, "tags": [], "sequences": []} for r in rows}
            for r in c.execute("select EpisodeId, Tag from EpisodeTags"):
                if r[0] in by_id:
                    by_id[r[0]]["tags"].append(str(r[1])[:200])
            for r in c.execute('select EpisodeId, RewardSequenceId, RewardTaskId, Type, User, "Values" from RewardSequences'):
                if r[0] in by_id:
                    by_id[r[0]]["sequences"].append(tuple(r)[1:])
    except sqlite3.Error as error:
        raise ApprenticeError(f"{path}: cannot be read as a store in the published layout ({error})") from error
    return sorted(by_id.values(), key=lambda r: str(r["EpisodeId"]))


def _path(folder: Path, row: dict[str, Any]) -> Path:
    name = str(row["DataPath"])
    if Path(name).name != name or name in ("", ".", ".."):
        raise BagError(f"DataPath {name[:100]!r} is not a plain file name")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BagError(f"{path}: missing, or not a plain file; unpack its archive first")
    return path


def _forget_tags(store: Store, episode_id: str, kept: list[str]) -> None:
    """Labels of the recorder that somebody took away later."""
    for tag in store.catalogue.tags_of(episode_id):
        if tag not in kept and tag != p.IMPORTED:
            store.catalogue.tag(episode_id, tag, False, author="import")


def _import_said(store: Store, episode_id: str, row: dict[str, Any]) -> int:
    """Tags and sequences that are not here yet; how many sequences."""
    catalogue, added = store.catalogue, 0
    present = catalogue.tags_of(episode_id)
    for tag in row["tags"]:
        if tag and tag not in present:
            catalogue.tag(episode_id, tag, author="import")
    with catalogue.transaction(writes=True) as c:
        for sequence_id, task, kind, user, blob in row["sequences"]:
            ours = p.our_sequence_id(episode_id, str(sequence_id))
            if not isinstance(blob, bytes) or len(blob) % 4:
                raise BagError(f"reward sequence {str(sequence_id)[:60]!r} is no array of float32")
            if c.execute(select(s.reward_sequences.c.task).where(s.reward_sequences.c.sequence_id == ours)).first() is None:
                values = np.frombuffer(blob, "<f4")
                catalogue.insert_sequence(c, episode_id, str(task)[:200], values, str(user or "")[:200], str(kind)[:40], ours)
                added += 1
    return added


def _import_episode(store: Store, path: Path, episode_id: str, row: dict[str, Any]) -> None:
    steps: list[Timestep] = []
    for data in read_records(path):
        steps.append(decode_example(data))
        if len(steps) > MAX_STEPS + 1:
            raise BagError(f"{path}: more than {MAX_STEPS} steps")
    if len(steps) < 2:
        raise BagError(f"{path}: {len(steps)} timesteps; an episode has at least two")
    _clear(store, episode_id)
    try:
        writer = _Own(steps) if p.EPISODE in steps[0] else _Foreign(steps, row)
        writer.write(store, episode_id)
    except (ValidationError, ValueError, KeyError, TypeError, IndexError, BagError) as error:
        _clear(store, episode_id)
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BagError(f"{path.name}: {' '.join(text.split())[:300]}") from error


def _clear(store: Store, episode_id: str) -> None:
    """Removes what an import that was cut off left of a bag; its source is still there."""
    folder = store.folder / f"{episode_id}{OPEN}"
    if folder.is_dir():
        with claim(folder) as ours:
            if not ours:
                raise BagError(f"{folder.name}: somebody else is writing it")
            shutil.rmtree(folder)


def _image(data: Feature, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A decoded picture; the header's size is checked before room is made for it."""
    if not isinstance(data, bytes):
        raise BagError("a picture is not one string")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as head:
            width, height = head.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise BagError("a picture is neither PNG nor JPEG") from error
    if max(width, height) > MAX_SIDE or (shape is not None and (height, width) != shape[:2]):
        raise BagError(f"a picture of {height}x{width} where {shape} is stated")
    return decode_png(data)


class _Own:
    """What `export_store` wrote: the cell spec, segments and steps come with it."""

    def __init__(self, timesteps: list[Timestep]):
        self.timesteps = timesteps
        self.head = _Head.model_validate_json(_text(timesteps[0][p.EPISODE]))
        self.spec, self.robot = cell_spec_from_json(self.head.cell_spec)
        if len(self.head.ticks) != len(timesteps):
            raise BagError(f"{len(self.head.ticks)} ticks for {len(timesteps)} frames")
        self.segments = {x.index: Segment(**{**x.model_dump(), "goal": _goal(x)}) for x in self.head.segments}

    def write(self, store: Store, episode_id: str) -> None:
        meta, last = self.head.meta, len(self.timesteps) - 1
        told = {k: v for k, v in (("reset_mode", meta.reset_mode), ("continues", meta.continues)) if v}
        context = EpisodeContext(
            episode_id, meta.task, "reset" if meta.kind == "reset" else "episode", meta.seed, meta.source, meta.initial_state,
            metadata={**meta.metadata, **told},
        )
        sink = BagSink(store, self.robot)
        sink.start(context, self.spec)
        try:
            for t in range(last):
                sink.step(self._observation(t), self._record(t), self.head.ticks[t] * 1e-9)
            outcome = EpisodeOutcome(meta.terminated, meta.truncated, meta.reason, meta.success)
            sink.end(self._observation(last), outcome, self.head.ticks[last] * 1e-9)
        except BaseException:
            sink.abort("the import was cut off or refused")
            raise
        if self.head.judged is not meta.success:
            store.catalogue.annotate(episode_id, "success", "", self.head.judged, "import")

    def _observation(self, t: int) -> Observation:
        features, out = self.timesteps[t], {}
        for a in self.spec.observation:
            if a.name.startswith("camera/"):
                camera = a.name.removeprefix("camera/")
                out[a.name] = _image(features[p.PIXELS + p.CAMERAS.get(camera, camera)], a.shape)
            else:
                out[a.name] = _array(features, f"{p.OURS}observation/{a.name}").reshape(a.shape).astype(a.dtype)
        check_observation(out, self.spec.observation)
        return out

    def _privileged(self, t: int) -> dict[str, np.ndarray]:
        mark = f"{p.OURS}privileged/"
        return {k.removeprefix(mark): _array(self.timesteps[t], k) for k in self.timesteps[t] if k.startswith(mark)}

    def _record(self, t: int) -> StepRecord:
        x = _Step.model_validate_json(_text(self.timesteps[t][p.STEP]))
        return StepRecord(
            step_id=x.step_id, step=t, stamp=self.head.ticks[t] * 1e-9, segment=self.segments[x.segment], actor=x.actor,
            actions={k: _array(self.timesteps[t], f"{p.OURS}actions/{k}") for k in ACTION_KINDS}, action_space=x.action_space,
            action_space_hash=x.action_space_hash, discount=x.discount, outcome=x.outcome, reason=x.reason,
            rewards={n: RewardValue(0.0 if v is None else v, valid=v is not None) for n, v in x.rewards.items()},
            privileged=self._privileged(t), next_privileged=self._privileged(t + 1), intervention=x.intervention, bundle_id=x.bundle_id,
            digest=x.digest, received=x.stamps.received, inference_start=x.stamps.inference_start, inference_end=x.stamps.inference_end,
            sent=x.stamps.sent, applied=x.stamps.applied,
        )


class _Foreign:
    """A file of the public release: a spec is made from what its first timestep holds. Its last action has no observation after it."""

    def __init__(self, timesteps: list[Timestep], row: dict[str, Any]):
        self.timesteps, self.row = timesteps, row
        self.actor = _TYPES.get(str(row["EpisodeType"]), "agent")
        first = timesteps[0]
        cameras = {}
        for name in sorted(first):
            if name.startswith(p.PIXELS) and isinstance(first[name], bytes):
                shape = _image(first[name]).shape
                if len(shape) == 3:
                    ours = {v: k for k, v in p.CAMERAS.items()}.get(name.removeprefix(p.PIXELS), name.removeprefix(p.PIXELS))
                    cameras[f"camera/{ours}"] = (name, shape)
        self.cameras = cameras
        streams = [x for x in proprio_streams(SAWYER) if all(_given(first, a.name) for a in x.arrays)]
        pictures = [
            StreamSpec(n, f"{n}/image/compressed", "sensor_msgs/msg/CompressedImage", (ArraySpec(n, shape, "uint8"),))
            for n, (_, shape) in cameras.items()
        ]
        self.spec = CellSpec(
            "cell", SAWYER.name, str(row["TaskId"])[:200], (*streams, *pictures), (), cartesian_velocity_gripper(), Timing(), "base",
            "pinch",
        )

    def write(self, store: Store, episode_id: str) -> None:
        began, last = float(int(self.row["Timestamp"] or 0)), len(self.timesteps) - 1
        source = self.actor if self.actor in TELEOP_SOURCES else "agent"
        context = EpisodeContext(
            episode_id, self.spec.task, source=source, metadata={"tags": [p.IMPORTED], "published_id": str(self.row["EpisodeId"])}
        )
        sink, space = BagSink(store, SAWYER), self.spec.action_space
        sink.start(context, self.spec)
        try:
            for t in range(last):
                action = _array(self.timesteps[t], p.ACTIONS)
                if action.shape != (space.size,) or not np.isfinite(action).all():
                    raise BagError(f"timestep {t}: actions are not {space.size} finite numbers")
                zero = np.zeros_like(action)
                given = {k: action if k in ("source", "mixed", "executed") else zero for k in ACTION_KINDS}
                sink.step(self._observation(t), StepRecord(
                    step_id=t, step=t, stamp=began + t * PERIOD, segment=Segment(task=self.spec.task), actor=source, actions=given,
                    action_space=space.name, action_space_hash=space.hash, discount=1.0, rewards={}, outcome="applied", reason="",
                    # Who acted in which step of a mixed episode is not published.
                    privileged={}, next_privileged={}, intervention=self.actor == "mixed",
                ), began + t * PERIOD)
            sink.end(self._observation(last), EpisodeOutcome(False, True, "published"), began + last * PERIOD)
        except BaseException:
            sink.abort("the import was cut off or refused")
            raise

    def _observation(self, t: int) -> Observation:
        features, out = self.timesteps[t], {}
        for a in self.spec.observation:
            if a.name in self.cameras:
                out[a.name] = _image(features[self.cameras[a.name][0]], a.shape)
            elif a.name == "wrist/wrench":
                out[a.name] = np.concatenate([_array(features, p.FORCE), _array(features, p.TORQUE)])
            else:
                out[a.name] = _array(features, p.ARRAYS[a.name])
        check_observation(out, self.spec.observation)
        return out


def _given(features: Timestep, array: str) -> bool:
    names = (p.FORCE, p.TORQUE) if array == "wrist/wrench" else (p.ARRAYS.get(array, ""),)
    return all(n in features for n in names)


def _text(value: Feature) -> bytes:
    if not isinstance(value, bytes):
        raise BagError("a text is not one string")
    return value


def _array(features: Timestep, name: str) -> np.ndarray:
    value = features.get(name)
    if not isinstance(value, np.ndarray):
        raise BagError(f"a timestep lacks {name}")
    return value.astype(np.float32)


def _goal(x: _Segment) -> dict[str, np.ndarray]:
    return {n: np.array(v, np.float32) for n, v in x.goal.items()}
