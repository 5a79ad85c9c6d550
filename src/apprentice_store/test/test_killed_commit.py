"""kill -9 anywhere in a commit leaves the row, or a whole bag that `repair` makes a row of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from apprentice_store.store import Store
from apprentice_store.testing import child_environment

# One child per place, forked before any database is open. Its own signal ends it right before the n-th thing that a commit does in the
# catalogue; `done` tells the parent what had been reached.
CHILD = """
import json, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from apprentice_store.catalogue import engine_of
from apprentice_store.store import Store
from apprentice_store.testing import make_episode


def episode(folder, fatal):
    reached = []

    def maybe_die(what):
        reached.append(what)
        (folder.parent / f"{folder.name}.reached").write_text(json.dumps(reached))
        if len(reached) - 1 == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store(folder) as store:
        engine, commit = engine_of(store.catalogue), Store.commit

        def watched(self, bag):
            maybe_die("commit called")
            event.listen(engine, "before_cursor_execute", lambda *a: maybe_die(a[2].split()[0]))
            event.listen(engine, "commit", lambda *_: maybe_die("COMMIT"))
            row = commit(self, bag)
            maybe_die("commit returned")
            return row

        Store.commit = watched
        make_episode(store)


for fatal in range(100):
    child = os.fork()
    if child == 0:
        episode(Path(sys.argv[1]) / f"bags{fatal}", fatal)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        print(fatal)
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
"""


def test_kill_nine_in_a_commit_loses_no_episode(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    run = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, env=child_environment(), check=True)
    places = int(run.stdout)
    everything = json.loads((tmp_path / f"bags{places}.reached").read_text())
    assert everything[0] == "commit called" and everything[-2:] == ["COMMIT", "commit returned"] and everything.count("INSERT") >= 3
    assert places == len(everything) > 8, "each place was died at once"
    with_row = []
    for k in range(places):
        folder = tmp_path / f"bags{k}"
        assert json.loads((tmp_path / f"bags{k}.reached").read_text()) == everything[: k + 1]
        with Store(folder) as store:
            [bag] = store.bags()
            before = store.episodes()
            assert [r.episode_id for r in before] in ([], [bag.name])
            assert {f.code for f in store.check().findings} == (set() if before else {"missing_row"}), k
            repaired = store.repair()
            assert repaired.rows == ([] if before else [bag.name]) and not repaired.hopeless
            [row] = store.episodes()
            assert row.episode_id == bag.name and store.check().ok and len(store.read(bag.name)) == row.steps == 5
            assert store.catalogue.tags_of(bag.name) == ["made"], "half a transaction is none"
            with_row.append(bool(before))
    assert with_row == sorted(with_row) and with_row[0] is False and with_row[-1] is True
