"""Writes episodes in the published layout (spec 000 line 30): `metadata.sqlite` and one TFRecord file an episode, frames in time order.

What it cannot hold: the raw streams of a bag (joints at 100 Hz, wrench, tf, robot description, safety stages), and annotations other
than tags and reward sequences (judgements beyond the last, trims, notes, hiding). docs/studio_server.md lists it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, insert, select

from apprentice_core.cell_spec import cell_spec_to_json
from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError, BagError
from apprentice_store import published_layout as p
from apprentice_store import schema as s
from apprentice_store.bag_reader import STAMPS, EpisodeReader
from apprentice_store.catalogue import EpisodeRow
from apprentice_store.frames import EpisodeFrames
from apprentice_store.store import Store
from apprentice_store.tf_record import Feature, encode_example, write_record


@dataclass
class TransferReport:
    """What an export or import came to; `refused`: (episode, reason)."""

    episodes: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    sequences: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Stable: it is `store export --json` and `store import --json`."""
        return {"episodes": self.episodes, "present": self.present, "sequences": self.sequences, "refused": [list(r) for r in self.refused]}


def export_store(store: Store, folder: Path, where: str | None = None) -> TransferReport:
    """All episodes that fulfil `where`, into a new folder. A damaged bag is reported and left out.

    The database is written last, beside and renamed: a folder with `metadata.sqlite` is whole. ApprenticeError when there is one already.
    """
    if (folder / p.DATABASE).exists():
        raise ApprenticeError(f"{folder / p.DATABASE}: exists already; name a new folder")
    rows = store.episodes(where)
    folder.mkdir(parents=True, exist_ok=True)
    report, written = TransferReport(), []
    for row in rows:
        try:
            _write_episode(folder / _file(row), EpisodeReader(store.path(row.episode_id)), row.success)
        except BagError as error:
            report.refused.append((row.episode_id, str(error)))
            continue
        written.append(row)
    report.episodes = [r.episode_id for r in written]
    report.sequences = _write_database(store, folder, written)
    return report


def _file(row: EpisodeRow) -> str:
    return f"{p.published_id(row.episode_id)}_{row.episode_id}"


def _write_episode(path: Path, reader: EpisodeReader, judged: bool | None) -> None:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("wb") as file:
            for features in _timesteps(reader, judged):
                write_record(file, encode_example(features))
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except OSError as error:
        raise ApprenticeError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        staging.unlink(missing_ok=True)


def _timesteps(reader: EpisodeReader, judged: bool | None) -> Iterator[dict[str, Feature]]:
    """One a frame; the frame after the last action carries no step, and zeros as its action."""
    low = [a.name for a in reader.spec.observation if not a.name.startswith("camera/")]
    episode, frames = reader.episode(low), EpisodeFrames(reader)
    sawyer = reader.spec.robot == "sawyer"
    for t in range(len(episode) + 1):
        here = {n: episode.observations[n][t] for n in low if n in episode.observations}
        out: dict[str, Feature] = {f"{p.OURS}observation/{n}": v for n, v in here.items()}
        out |= {f"{p.OURS}privileged/{n}": v[t] for n, v in episode.privileged.items()}
        if sawyer:
            out |= {p.ARRAYS[n]: v for n, v in here.items() if n in p.ARRAYS and v.size == p.SIZES[p.ARRAYS[n]]}
            if "wrist/wrench" in here:
                out |= {p.FORCE: here["wrist/wrench"][:3], p.TORQUE: here["wrist/wrench"][3:]}
        for camera in frames.cameras:
            out[p.PIXELS + p.CAMERAS.get(camera, camera)] = frames.png(camera, t)
        last = t == len(episode)
        out[p.ACTIONS] = np.zeros_like(episode.actions["executed"][0]) if last else episode.actions["executed"][t]
        if not last:
            out |= {f"{p.OURS}actions/{kind}": values[t] for kind, values in episode.actions.items()}
            out[p.STEP] = json.dumps(_step(reader, episode, t), allow_nan=False).encode()
        if t == 0:
            out[p.EPISODE] = json.dumps({**_head(reader, episode), "judged": judged}, allow_nan=False, default=str).encode()
        yield out


def _step(reader: EpisodeReader, episode: Episode, t: int) -> dict[str, Any]:
    step = reader.steps[t]
    rewards = {n: float(v[t]) if np.isfinite(v[t]) else None for n, v in episode.rewards.items()}
    return {
        "step_id": int(step.step_id), "segment": int(step.segment), "actor": step.actor, "intervention": bool(step.intervention),
        "outcome": step.outcome, "reason": step.reason, "bundle_id": step.bundle_id, "digest": step.observation_digest,
        "discount": float(step.discount), "rewards": rewards, "action_space": step.action_space,
        "action_space_hash": step.action_space_hash,
        "stamps": {k: int(episode.stamps[k][t]) for k in STAMPS},
    }


def _head(reader: EpisodeReader, episode: Episode) -> dict[str, Any]:
    segments = [{**vars(x), "goal": {n: v.tolist() for n, v in x.goal.items()}} for x in episode.segments]
    return {
        "format": 1, "cell_spec": cell_spec_to_json(reader.spec, reader.robot), "meta": reader.meta, "segments": segments,
        "ticks": episode.stamps["tick"].tolist(),
    }


def _write_database(store: Store, folder: Path, rows: list[EpisodeRow]) -> int:
    staging = folder / f".{p.DATABASE}.{os.getpid()}"
    staging.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{staging.resolve()}")
    count = 0
    try:
        p.metadata.create_all(engine)
        with engine.begin() as c:
            known: set[str] = set()
            for row in rows:
                number = p.published_id(row.episode_id)
                c.execute(insert(p.episodes).values(
                    EpisodeId=number, TaskId=row.task, DataPath=_file(row), Timestamp=row.timestamp, EpisodeType=row.episode_type,
                ))
                labels = store.catalogue.tags_of(row.episode_id)
                for tag in labels:
                    if tag not in known:
                        known.add(tag)
                        c.execute(insert(p.tags).values(Name=tag))
                    c.execute(insert(p.episode_tags).values(EpisodeId=number, Tag=tag))
                for sequence in _sequences(store, row.episode_id):
                    c.execute(insert(p.reward_sequences).values(EpisodeId=number, **sequence))
                    count += 1
    finally:
        engine.dispose()
    staging.replace(folder / p.DATABASE)
    return count


def _sequences(store: Store, episode_id: str) -> list[dict[str, Any]]:
    t = s.reward_sequences.c
    query = select(t.sequence_id, t.task, t.type, t.user, t["values"]).where(t.episode_id == episode_id).order_by(t.revision)
    names = ("RewardSequenceId", "RewardTaskId", "Type", "User", "Values")
    with store.catalogue.transaction() as c:
        return [dict(zip(names, row, strict=True)) for row in c.execute(query)]
