"""Committing an episode is the same work whether ten or a thousand lie there already: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import event

from apprentice_store.catalogue import engine_of
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

OPCODES_PER_CALL = 10


@dataclass
class Work:
    """Of one episode: SQL statements, steps of SQLite's virtual machine (it sees a scan that grows), bytes given to the file system."""

    statements: int
    machine: int
    bytes: int


@pytest.fixture
def counted(store: Store) -> Iterator[dict[str, int]]:
    """Live counts of what the store's catalogue executes."""
    counts = {"statements": 0, "machine": 0}
    engine = engine_of(store.catalogue)

    def statement(*_: object) -> None:
        counts["statements"] += 1

    def machine() -> int:
        counts["machine"] += OPCODES_PER_CALL
        return 0

    def checkout(connection, *_: object) -> None:
        connection.set_progress_handler(machine, OPCODES_PER_CALL)

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "checkout", checkout)
    yield counts
    event.remove(engine, "before_cursor_execute", statement)
    event.remove(engine, "checkout", checkout)


def written() -> int:
    """Bytes that this process gave to write calls so far, to any file."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def soak(store: Store, counts: dict[str, int], episodes: int) -> list[Work]:
    work = []
    for _ in range(episodes):
        before = (counts["statements"], counts["machine"], written())
        make_episode(store, steps=2, seed=0)  # the same content each time: only the store grows
        work.append(Work(counts["statements"] - before[0], counts["machine"] - before[1], written() - before[2]))
    return work


def constant(work: list[Work], span: int) -> None:
    first, last = work[:span], work[-span:]
    for name in ("statements", "machine", "bytes"):
        early, late = (sum(getattr(w, name) for w in part) for part in (first, last))
        assert 0 < late <= 1.5 * early, f"{name}: {early} for the first {span} episodes, {late} for the last"


def test_sixty_commits_cost_the_same_each(store, counted) -> None:
    constant(soak(store, counted, 60), 20)
    assert store.catalogue.count() == 60


def test_the_count_sees_a_commit_that_grows(store, counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: a commit that looks through all rows must fail it."""
    commit = Store.commit

    def slow(self, bag):
        self.catalogue.episodes("source like '%none%' or metadata_json like '%none%'")
        return commit(self, bag)

    monkeypatch.setattr(Store, "commit", slow)
    with pytest.raises(AssertionError, match="machine"):
        constant(soak(store, counted, 60), 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_commits_cost_the_same_each(store, counted) -> None:
    constant(soak(store, counted, 1000), 100)
    assert store.catalogue.count() == 1000 and store.check(hashes=False).ok
