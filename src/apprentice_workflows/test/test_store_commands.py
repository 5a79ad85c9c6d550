"""`apprentice store hide`, `trim` and `merge` as a shell runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apprentice_store.store import Store
from apprentice_store.testing import make_episode


def store_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "APPRENTICE_STORE"}
    command = [sys.executable, "-m", "apprentice_workflows", "store", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=110)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as store:
        return str(store.folder), [make_episode(store, seed=s).episode_id for s in range(2)]


def listed(folder: str, *more: str) -> list[str]:
    return sorted(r["episode_id"] for r in json.loads(store_command("ls", "-d", folder, "--json", *more).stdout)["episodes"])


def test_hide_and_trim(data) -> None:
    folder, (one, two) = data
    assert "hidden (revision" in store_command("hide", one, "-d", folder, "--author", "u1").stdout
    assert listed(folder) == [two] and listed(folder, "-w", "hidden = true") == [one]
    assert store_command("hide", one, "-d", folder, "--undo").returncode == 0 and listed(folder) == sorted([one, two])
    assert "steps 1 to 3" in store_command("trim", one, "1", "3", "-d", folder).stdout
    assert json.loads(store_command("show", one, "-d", folder, "--json").stdout)["trim"] == [1, 3]
    assert store_command("trim", one, "-d", folder, "--undo").returncode == 0
    shown = json.loads(store_command("show", one, "-d", folder, "--json").stdout)
    assert shown["trim"] is None and shown["hidden"] is False and shown["tags"] == "made"


@pytest.mark.parametrize(("arguments", "message"), [
    (("trim", "{one}", "3", "9"), "has steps 0 to 4"), (("trim", "{one}", "3"), "give FIRST and LAST"),
    (("trim", "{one}"), "give FIRST and LAST"), (("trim", "{one}", "1", "2", "--undo"), "give FIRST and LAST"),
    (("hide", "unknown"), "no episode"), (("merge", "/no/such/folder"), "not a data folder"),
])
def test_wrong_use_is_told_in_one_line(data, arguments: tuple[str, ...], message: str) -> None:
    folder, (one, _) = data
    answer = store_command(*(a.format(one=one) for a in arguments), "-d", folder)
    assert answer.returncode == 2 and message in answer.stderr and len(answer.stderr.strip().splitlines()) == 1


def test_merge(data, tmp_path: Path) -> None:
    folder, ids = data
    (tmp_path / "here").mkdir()
    here = str(tmp_path / "here")
    report = json.loads(store_command("merge", folder, "-d", here, "--json").stdout.splitlines()[-1])
    assert report["ok"] and report["imported"] == ids and listed(here) == ids
    assert "0 episodes taken in, 2 were here already" in store_command("merge", folder, "-d", here).stdout
    bag = next((Path(folder) / ids[0]).glob("*.mcap"))
    bag.write_bytes(bag.read_bytes()[:-30])
    (tmp_path / "there").mkdir()
    answer = store_command("merge", folder, "-d", str(tmp_path / "there"))
    assert answer.returncode == 1 and f"refused: {ids[0]}" in answer.stdout


@pytest.mark.parametrize("command", ["hide", "trim", "merge"])
def test_help_has_examples(command: str) -> None:
    assert f"apprentice store {command} " in store_command(command, "--help").stdout


def test_export_and_import(data, tmp_path: Path) -> None:
    folder, (one, two) = data
    out, other = str(tmp_path / "out"), str(tmp_path / "other")
    Store(other).close()
    told = store_command("export", out, "-d", folder, "-w", f"id = '{one}'", "--json")
    assert told.returncode == 0 and json.loads(told.stdout)["episodes"] == [one]
    again = store_command("export", out, "-d", folder)
    assert again.returncode == 2 and "exists already" in again.stderr
    told = store_command("import", out, "-d", other)
    assert told.returncode == 0 and "1 episodes taken in" in told.stdout and listed(other) == [one]
    (next(Path(out).glob(f"*{one}"))).write_bytes(b"cut")
    assert store_command("import", out, "-d", str(tmp_path / "other")).returncode == 0, "what is here already is not read again"
    Store(tmp_path / "third").close()
    told = store_command("import", out, "-d", str(tmp_path / "third"))
    assert told.returncode == 1 and "refused" in told.stdout and two not in told.stdout
