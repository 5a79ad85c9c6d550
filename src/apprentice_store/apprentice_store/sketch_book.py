"""Reward curves while they are drawn and when they are done (spec 000 sections 2.5 and 2.6): two people, or two windows, never overwrite
each other unseen, and what was drawn survives a killed server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select, update

from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import SKETCH, Catalogue


@dataclass(frozen=True)
class Curve:
    """A reward sequence: float32 [frames]; `user` is a person for a sketch, else the model that predicted it."""

    episode_id: str
    sequence_id: str
    type: str
    user: str
    revision: int
    values: np.ndarray


@dataclass(frozen=True)
class Draft:
    """A curve in the making: float32 [frames], NaN where nothing is drawn. Version 0 is the empty one, before the first."""

    version: int
    values: np.ndarray


class Newer(ApprenticeError):
    """Somebody saved in between; `stored` is what the catalogue holds now."""

    def __init__(self, message: str, stored: Curve | Draft):
        self.stored = stored
        super().__init__(message)


class SketchBook:
    """Curves and drafts of a catalogue. Each method is one transaction; a saved sketch is never changed, only followed by a newer one."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue

    def curves(self, episode_id: str, task: str) -> list[Curve]:
        """The newest of each user and of each model, in order of revision."""
        t = s.reward_sequences.c
        with self.catalogue.transaction() as c:
            return newest_curves(c, t.episode_id == episode_id, t.task == task)

    def draft(self, episode_id: str, task: str, user: str) -> tuple[Draft | None, int]:
        """(the draft that no sketch of the user has taken up yet, else None; the version that a next draft has to name)."""
        with self.catalogue.transaction() as c:
            stored, pending = self._draft(c, episode_id, task, user)
        return (stored if pending else None), stored.version

    def users(self) -> list[str]:
        """Everybody who sketched or annotated."""
        said = select(s.annotation_log.c.author).where(s.annotation_log.c.kind != "reward_sequence").distinct()
        with self.catalogue.transaction() as c:
            names = {r[0] for r in c.execute(select(s.reward_sequences.c.user).where(s.reward_sequences.c.type == SKETCH).distinct())}
            names |= {r[0] for r in c.execute(said)}
        return sorted(n for n in names if n and n != "recorder")

    def sketched(self, episode_ids: Sequence[str]) -> dict[str, list[str]]:
        """Tasks for which somebody sketched, by episode."""
        t = s.reward_sequences.c
        query = select(t.episode_id, t.task).where(t.episode_id.in_(episode_ids) & (t.type == SKETCH)).distinct().order_by(t.task)
        out: dict[str, list[str]] = {}
        with self.catalogue.transaction() as c:
            for episode_id, task in c.execute(query):
                out.setdefault(episode_id, []).append(task)
        return out

    def sketched_by(self, task: str, user: str) -> set[str]:
        """Episodes that a user sketched for a task."""
        t = s.reward_sequences.c
        query = select(t.episode_id).where((t.task == task) & (t.user == user) & (t.type == SKETCH)).distinct()
        with self.catalogue.transaction() as c:
            return {r[0] for r in c.execute(query)}

    def save_draft(self, episode_id: str, task: str, user: str, values: np.ndarray, version: int) -> int:
        """Saves a draft over the one of `version`; returns its own. Newer when another one is stored.

        Version 0 starts anew, which is also right where a sketch has taken the last draft up.
        """
        with self.catalogue.transaction(writes=True) as c:
            _one_at_a_time(c)
            stored, pending = self._draft(c, episode_id, task, user)
            if version != stored.version and (pending or version != 0):
                raise Newer(f"{episode_id}: {user} has a newer draft for {task} (version {stored.version}, not {version})", stored)
            revision = c.execute(select(s.revision.c.value)).scalar_one()
            said = {"version": stored.version + 1, "revision": revision, "values": _bytes(values)}
            key = {"episode_id": episode_id, "task": task, "user": user}
            if stored.version:
                c.execute(update(s.drafts).where(_mine(s.drafts.c, **key)).values(said))
            else:
                c.execute(insert(s.drafts).values(**key, **said))
            return stored.version + 1

    def discard_draft(self, episode_id: str, task: str, user: str) -> None:
        """Drops the draft, as its user asks for."""
        with self.catalogue.transaction(writes=True) as c:
            c.execute(delete(s.drafts).where(_mine(s.drafts.c, episode_id, task, user)))

    def save(
        self, episode_id: str, task: str, user: str, values: np.ndarray, base: int, filled: Sequence[tuple[int, int]] = ()
    ) -> tuple[Curve, bool]:
        """(the sketch as saved, whether it is new): adds one that was drawn over the user's sketch of revision `base` (0: none).

        Newer when there is another one meanwhile. `filled`: frames first..last that were interpolated, not drawn (line 41); kept as an
        annotation. The same curve submitted twice is one sketch.
        """
        with self.catalogue.transaction(writes=True) as c:
            _one_at_a_time(c)
            found = _sketch_of(c, episode_id, task, user)
            last = found or Curve(episode_id, "", SKETCH, user, 0, np.zeros(0, np.float32))
            if found and _bytes(last.values) == _bytes(values):
                return last, False
            if last.revision != base:
                raise Newer(f"{episode_id}: {user} has another sketch for {task} (revision {last.revision}, not {base})", last)
            sequence, revision = self.catalogue.insert_sequence(c, episode_id, task, values, user)
            if filled:
                told = {"sequence": sequence, "frames": [list(f) for f in filled]}
                self.catalogue.insert_annotation(c, episode_id, "sketch_filled", task, told, user)
        return Curve(episode_id, sequence, SKETCH, user, revision, values), True

    @staticmethod
    def _draft(c: Connection, episode_id: str, task: str, user: str) -> tuple[Draft, bool]:
        t = s.drafts.c
        row = c.execute(select(t.version, t.revision, t["values"]).where(_mine(t, episode_id, task, user))).first()
        if row is None:
            return Draft(0, np.zeros(0, np.float32)), False
        saved = _sketch_of(c, episode_id, task, user)
        return Draft(row[0], np.frombuffer(row[2], "<f4").copy()), saved is None or saved.revision <= row[1]


def _one_at_a_time(c: Connection) -> None:
    """Waits for other writers before looking what is stored. SQLite's write transactions do so from their beginning."""
    c.execute(select(s.revision.c.value).with_for_update())


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _mine(columns: Any, episode_id: str, task: str, user: str) -> Any:
    return (columns.episode_id == episode_id) & (columns.task == task) & (columns.user == user)


def _sketch_of(c: Connection, episode_id: str, task: str, user: str) -> Curve | None:
    t = s.reward_sequences.c
    return next(iter(newest_curves(c, _mine(t, episode_id, task, user), t.type == SKETCH)), None)


def newest_curves(c: Connection, *conditions: Any) -> list[Curve]:
    """Of the reward sequences that fulfil the conditions, the newest of each episode, type and user, in order of revision.

    Bytes that are no float32 give a curve without values, which `fault_of` then tells.
    """
    t = s.reward_sequences.c
    query = select(t.episode_id, t.sequence_id, t.type, t.user, t.revision, t["values"]).where(*conditions).order_by(t.revision)
    newest = {(row.episode_id, row.type, row.user): row for row in c.execute(query)}
    return sorted(
        (Curve(*row[:5], np.frombuffer(row[5] if len(row[5]) % 4 == 0 else b"", "<f4").copy()) for row in newest.values()),
        key=lambda x: x.revision,
    )
