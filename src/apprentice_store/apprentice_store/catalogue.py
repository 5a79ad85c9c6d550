"""Rows: one an episode, and what people and models said about it later (append-only, with a global revision)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, make_url, select, text, update
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from apprentice_core.episode import new_episode_id
from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.query import parse_where, success_at

BUSY_TIMEOUT = 10.0
"""seconds to wait for another writer (ours)"""
URL_VARIABLE = "APPRENTICE_STORE"
SKETCH = "REWARD_SKETCH"
"""type of a reward sequence that a person drew (spec 000 section 2.5)"""
_SCHEMA_LOCK = 0x61707072


@dataclass(frozen=True)
class EpisodeRow:
    """One row of Episodes; names are the columns that a `where` may use.

    `started` is in nanoseconds, `duration` in seconds, `timestamp` in unix seconds.
    """

    episode_id: str
    task: str
    data_path: str
    timestamp: int
    episode_type: str
    store_id: str
    kind: str
    cell: str
    robot: str
    source: str
    bundle_id: str
    reset_mode: str
    initial_state: str
    seed: int | None
    continues: str
    pace: str
    action_space: str
    steps: int
    success: bool | None
    terminated: bool
    truncated: bool
    reason: str
    lost: int
    hash: str
    started: int
    duration: float
    metadata_json: str


@dataclass(frozen=True)
class Annotation:
    """Something said about an episode after it was recorded."""

    revision: int
    episode_id: str
    kind: str
    name: str
    value: Any
    author: str
    created: int


class Catalogue:
    """SQLite beside the bags (WAL, local disk), or PostgreSQL by URL where several hosts write. Every write is one short transaction."""

    def __init__(self, url: str):
        self.url = url
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise ApprenticeError(f"{URL_VARIABLE}: {url!r} is not a database URL") from error
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT} if sqlite else {}, pool_pre_ping=not sqlite)
        self._writer = self._engine.execution_options(writes=True)
        if sqlite:
            event.listen(self._engine, "connect", _sqlite_connect)
            event.listen(self._engine, "begin", _sqlite_begin)
        self._create()

    @classmethod
    def beside(cls, folder: Path) -> Catalogue:
        """$APPRENTICE_STORE where set, else `catalogue.sqlite` in the data folder."""
        named = os.environ.get(URL_VARIABLE, "")
        return cls(named or f"sqlite:///{folder.resolve() / 'catalogue.sqlite'}")

    def _create(self) -> None:
        try:
            with self._writer.begin() as c:
                if c.dialect.name == "postgresql":
                    c.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
                s.metadata.create_all(c)
                version = c.execute(select(s.schema_version.c.version)).scalar()
                if version is None:
                    c.execute(insert(s.schema_version).values(version=s.SCHEMA_VERSION))
                    c.execute(insert(s.revision).values(id=1, value=0))
                elif version != s.SCHEMA_VERSION:
                    raise ApprenticeError(f"catalogue {self.url}: schema version {version}, this program knows {s.SCHEMA_VERSION}")
        except DBAPIError as error:
            raise ApprenticeError(f"catalogue {make_url(self.url).render_as_string()}: {_reason(error)}") from error

    @contextmanager
    def transaction(self, writes: bool = False) -> Iterator[Connection]:
        """One transaction on the catalogue's database, for the store's own modules beside this one."""
        with (self._writer if writes else self._engine).begin() as connection:
            yield connection

    def _write(self) -> AbstractContextManager[Connection]:
        return self.transaction(writes=True)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, row: EpisodeRow, tags: Sequence[str] = ()) -> bool:
        """Adds a committed episode with the tags known while recording; False when it is there already."""
        values = {f.name: getattr(row, f.name) for f in fields(row)}
        try:
            with self._write() as c:
                c.execute(insert(s.episodes).values(values))
                c.execute(insert(s.commits).values(episode_id=row.episode_id, revision=self._next_revision(c), success=row.success))
                for tag in tags:
                    self._tag(c, row.episode_id, tag, True, "recorder")
        except IntegrityError:
            if self.get(row.episode_id) is None:
                raise
            return False
        return True

    def replace(self, row: EpisodeRow) -> None:
        """Corrects a row from its bag (repair); annotations stay, and a judgement among them stays the row's success."""
        judged = any(a.kind == "success" for a in self.annotations(row.episode_id))
        kept = {"episode_id", "success"} if judged else {"episode_id"}
        values = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in kept}
        with self._write() as c:
            c.execute(update(s.episodes).where(s.episodes.c.episode_id == row.episode_id).values(values))

    def get(self, episode_id: str) -> EpisodeRow | None:
        with self._engine.begin() as c:
            found = c.execute(select(s.episodes).where(s.episodes.c.episode_id == episode_id)).mappings().first()
        return None if found is None else EpisodeRow(**{f.name: found[s.episodes.c[f.name]] for f in fields(EpisodeRow)})

    def episodes(
        self, where: str | None = None, limit: int | None = None, newest_first: bool = False, hidden: bool = False,
        revision: int | None = None, offset: int = 0,
    ) -> list[EpisodeRow]:
        """Rows that fulfil `where` (see query.py), in order of their start, from the `offset`th on.

        `hidden`: hidden ones too (also where the text names `hidden`). `revision`: those that fulfilled it then, with the success of then.
        """
        order = s.episodes.c.episode_id
        query = select(s.episodes).where(parse_where(where, hidden, revision)).order_by(order.desc() if newest_first else order)
        names = [f.name for f in fields(EpisodeRow)]
        columns = [success_at(revision) if n == "success" and revision is not None else s.episodes.c[n] for n in names]
        with self._engine.begin() as c:
            rows = c.execute(query.with_only_columns(*columns).limit(limit).offset(offset or None)).all()
        return [EpisodeRow(*r) for r in rows]

    def count(self, where: str | None = None) -> int:
        with self._engine.begin() as c:
            return int(c.execute(select(func.count()).select_from(s.episodes).where(parse_where(where))).scalar_one())

    @property
    def revision(self) -> int:
        """Of the newest commit or annotation; 0 before the first."""
        with self._engine.begin() as c:
            return int(c.execute(select(s.revision.c.value)).scalar_one())

    @staticmethod
    def _next_revision(c: Connection) -> int:
        # The update locks the one row until the commit, so a later revision is never seen before an earlier one.
        c.execute(update(s.revision).values(value=s.revision.c.value + 1))
        return int(c.execute(select(s.revision.c.value)).scalar_one())

    def insert_annotation(
        self, c: Connection, episode_id: str, kind: str, name: str, value: Any, author: str, created: int | None = None
    ) -> int:
        """Appends an annotation inside a writing transaction; returns its revision."""
        number = self._next_revision(c)
        c.execute(insert(s.annotation_log).values(
            revision=number, episode_id=episode_id, kind=kind, name=name, value=json.dumps(value), author=author,
            created=time.time_ns() if created is None else created,
        ))
        return number

    def _tag(self, c: Connection, episode_id: str, tag: str, present: bool, author: str, created: int | None = None) -> int:
        number = self.insert_annotation(c, episode_id, "tag", tag, present, author, created)
        row = (s.episode_tags.c.episode_id == episode_id) & (s.episode_tags.c.tag == tag)
        if not present:
            c.execute(delete(s.episode_tags).where(row))
            return number
        if c.execute(select(s.tags.c.name).where(s.tags.c.name == tag)).first() is None:
            c.execute(insert(s.tags).values(name=tag))
        if c.execute(select(s.episode_tags.c.tag).where(row)).first() is None:
            c.execute(insert(s.episode_tags).values(episode_id=episode_id, tag=tag))
        return number

    def _known(self, episode_id: str) -> None:
        if self.get(episode_id) is None:
            raise ApprenticeError(f"no episode {episode_id!r} in the catalogue")

    def tag(self, episode_id: str, tag: str, present: bool = True, author: str = "") -> int:
        """Adds or takes away a tag; returns the new revision."""
        if not 0 < len(tag) <= 200:
            raise ApprenticeError("a tag has 1 to 200 characters")
        self._known(episode_id)
        with self._write() as c:
            return self._tag(c, episode_id, tag, present, author)

    def annotate(self, episode_id: str, kind: str, name: str, value: Any, author: str = "") -> int:
        """Appends an annotation (value: JSON); returns the new revision. `success` also becomes the row's success."""
        self._known(episode_id)
        with self._write() as c:
            if kind == "success":
                return self.judge_success(c, episode_id, value, author, name)
            return self.insert_annotation(c, episode_id, kind, name, value, author)

    def judge_success(
        self, c: Connection, episode_id: str, success: bool | None, author: str, name: str = "", created: int | None = None
    ) -> int:
        """A judgement inside a writing transaction: annotation and row alike; returns its revision."""
        c.execute(update(s.episodes).where(s.episodes.c.episode_id == episode_id).values(success=success))
        return self.insert_annotation(c, episode_id, "success", name, success, author, created)

    def add_reward_sequence(self, episode_id: str, task: str, values: np.ndarray, user: str, kind: str = SKETCH) -> int:
        """One float32 a frame (spec 000 section 2.5); several an episode are welcome. Returns the new revision."""
        self._known(episode_id)
        with self._write() as c:
            return self.insert_sequence(c, episode_id, task, values, user, kind)[1]

    def insert_sequence(
        self, c: Connection, episode_id: str, task: str, values: np.ndarray, user: str, kind: str = SKETCH, sequence_id: str = ""
    ) -> tuple[str, int]:
        """(sequence id, revision) of a reward sequence added inside a writing transaction; '' makes a new id."""
        sequence = sequence_id or new_episode_id()
        number = self.insert_annotation(c, episode_id, "reward_sequence", task, sequence, user)
        c.execute(insert(s.reward_sequences).values(
            episode_id=episode_id, sequence_id=sequence, task=task, type=kind, user=user, revision=number,
            values=np.ascontiguousarray(values, dtype="<f4").tobytes(),
        ))
        return sequence, number

    def reward_sequences(
        self, episode_id: str, task: str | None = None, revision: int | None = None
    ) -> list[tuple[str, str, str, np.ndarray]]:
        """(task, type, user, float32 [frames]) in order of revision, at most up to `revision`."""
        t = s.reward_sequences
        query = select(t.c.task, t.c.type, t.c.user, t.c["values"]).where(t.c.episode_id == episode_id).order_by(t.c.revision)
        if task is not None:
            query = query.where(t.c.task == task)
        if revision is not None:
            query = query.where(t.c.revision <= revision)
        with self._engine.begin() as c:
            return [(a, b, u, np.frombuffer(v, dtype="<f4").copy()) for a, b, u, v in c.execute(query)]

    def adopt(self, episode_id: str, other: Catalogue, wanted: Callable[[Annotation], bool] = lambda _: True) -> int:
        """Takes over what another catalogue says of an episode: each annotation that is not here yet (and is wanted), in its order, as a
        new revision with its own author and time. Returns how many. One transaction."""
        def identity(a: Annotation) -> tuple[Any, ...]:
            return a.kind, a.name, json.dumps(a.value), a.author, a.created

        self._known(episode_id)
        theirs = other.annotations(episode_id)
        with other._engine.begin() as c:
            sequences = {
                r["sequence_id"]: dict(r)
                for r in c.execute(select(*(x.label(x.key) for x in s.reward_sequences.c)).where(
                    s.reward_sequences.c.episode_id == episode_id
                )).mappings()
            }
        with self._write() as c:
            have = {identity(a) for a in self._annotations(c, episode_id, None)}
            new = [a for a in theirs if identity(a) not in have and wanted(a)]
            for a in new:
                if a.kind == "tag":
                    self._tag(c, episode_id, a.name, bool(a.value), a.author, a.created)
                    continue
                if a.kind == "success":
                    self.judge_success(c, episode_id, a.value, a.author, a.name, a.created)
                    continue
                number = self.insert_annotation(c, episode_id, a.kind, a.name, a.value, a.author, a.created)
                if a.kind == "reward_sequence" and a.value in sequences:
                    c.execute(insert(s.reward_sequences).values({**sequences[a.value], "revision": number}))
        return len(new)

    def trims(self, revision: int | None = None) -> dict[str, tuple[int, int]]:
        """(first, last) step to keep, of each episode that is trimmed (now, or at `revision`)."""
        t = s.annotation_log.c
        query = select(t.episode_id, t.value).where(t.kind == "trim").order_by(t.revision)
        if revision is not None:
            query = query.where(t.revision <= revision)
        with self._engine.begin() as c:
            said = {episode_id: json.loads(value) for episode_id, value in c.execute(query)}
        return {episode_id: (int(v[0]), int(v[1])) for episode_id, v in said.items() if v is not None}

    def annotations(self, episode_id: str, revision: int | None = None) -> list[Annotation]:
        with self._engine.begin() as c:
            return self._annotations(c, episode_id, revision)

    @staticmethod
    def _annotations(c: Connection, episode_id: str, revision: int | None) -> list[Annotation]:
        t = s.annotation_log
        query = select(t).where(t.c.episode_id == episode_id).order_by(t.c.revision)
        if revision is not None:
            query = query.where(t.c.revision <= revision)
        return [Annotation(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5], r[6]) for r in c.execute(query)]

    def tags_of(self, episode_id: str, revision: int | None = None) -> list[str]:
        """Sorted; at a revision, as they were then."""
        present: dict[str, bool] = {a.name: bool(a.value) for a in self.annotations(episode_id, revision) if a.kind == "tag"}
        return sorted(n for n, p in present.items() if p)

    def tags_of_many(self, episode_ids: Sequence[str]) -> dict[str, list[str]]:
        """The present tags of those of the episodes that have any, sorted."""
        t = s.episode_tags.c
        query = select(t.episode_id, t.tag).where(t.episode_id.in_(episode_ids)).order_by(t.tag)
        out: dict[str, list[str]] = {}
        with self._engine.begin() as c:
            for episode_id, tag in c.execute(query):
                out.setdefault(episode_id, []).append(tag)
        return out

    def tagged(self, tag: str) -> list[str]:
        """Episodes that bear a tag, in the order in which they got it."""
        t, present = s.annotation_log.c, select(s.episode_tags.c.episode_id).where(s.episode_tags.c.tag == tag)
        mine = (t.kind == "tag") & (t.name == tag) & (t.value == "true") & t.episode_id.in_(present)
        with self._engine.begin() as c:
            return [r[0] for r in c.execute(select(t.episode_id).where(mine).group_by(t.episode_id).order_by(func.max(t.revision)))]

    def totals(self, by: Sequence[str] = ("task", "source", "kind"), where: str | None = None) -> list[dict[str, Any]]:
        """Episodes, steps, seconds and lost observations by columns (spec 000 line 31), without the hidden ones."""
        e = s.episodes.c
        groups = [e[name] for name in by]
        query = (
            select(*groups, func.count(), func.sum(e.steps), func.sum(e.duration), func.sum(e.lost))
            .where(parse_where(where)).group_by(*groups).order_by(*groups)
        )
        names, n = (*by, "episodes", "steps", "seconds", "lost"), len(by)
        with self._engine.begin() as c:
            found = [(*r[:n], int(r[n]), int(r[n + 1]), float(r[n + 2]), int(r[n + 3])) for r in c.execute(query)]
        return [dict(zip(names, r, strict=True)) for r in found]

    def sketch_totals(self, where: str | None = None) -> list[dict[str, Any]]:
        """Sketched episodes and curves by task and user, of all but the hidden episodes."""
        t = s.reward_sequences.c
        query = (
            select(t.task, t.user, func.count(t.episode_id.distinct()), func.count()).select_from(s.reward_sequences)
            .join(s.episodes, s.episodes.c.episode_id == t.episode_id).where(parse_where(where) & (t.type == SKETCH))
            .group_by(t.task, t.user).order_by(t.task, t.user)
        )
        with self._engine.begin() as c:
            return [dict(zip(("task", "user", "episodes", "sketches"), r, strict=True)) for r in c.execute(query)]


def _sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin late and fail when they upgrade; ours begin where we say (see _sqlite_begin).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _reason(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())[:300]


def engine_of(catalogue: Catalogue) -> Engine:
    """For tools that read the published schema directly."""
    return catalogue._engine
