"""The first-use set-up without a network: stamps, locks, the repair, what is stale."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "setup"))

from apprentice_setup import checks  # noqa: E402
from apprentice_setup.console import Progress, run  # noqa: E402
from apprentice_setup.environment import BUILT_ON, DISTROS, Environment  # noqa: E402
from apprentice_setup.errors import SetupError  # noqa: E402
from apprentice_setup.stamps import Stamps, digest, exclusive  # noqa: E402
from apprentice_setup.workspace import Workspace  # noqa: E402


def test_stamps_are_written_whole_and_compared(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path / "s")
    assert not stamps.fresh("a", "1")
    stamps.write("a", "1")
    assert stamps.fresh("a", "1") and not stamps.fresh("a", "2")
    stamps.clear("a")
    assert not stamps.fresh("a", "1")


def test_digest_sees_names_contents_and_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("x")
    b.write_text("x")
    assert len({digest([a]), digest([b]), digest([a, b]), digest([b, a]), digest(["x"])}) == 5


def test_two_set_ups_take_turns(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock"), (tmp_path / "lock").open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_failing_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    progress = Progress()
    progress.start("something")
    with pytest.raises(SetupError, match=r"something failed \(exit 3\)(.|\n)*\| told you") as caught:
        run([sys.executable, "-c", "print('told you'); raise SystemExit(3)"], tmp_path / "x.log", progress)
    assert str(tmp_path / "x.log") in str(caught.value)


def test_the_repair_names_our_include_folders() -> None:
    line = 'set(_i "/opt/python/cp311-cp311/include/python3.11;/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")'
    fixed = BUILT_ON.sub(lambda m: "N" if "numpy" in m.group(1) else "I", line)
    assert fixed == 'set(_i "I;N")'
    assert BUILT_ON.sub("", "/opt/python/elsewhere/include") == "/opt/python/elsewhere/include"


def test_missing_headers_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.headers(str(tmp_path)) is None
    (tmp_path / "Python.h").touch()
    assert checks.headers(str(tmp_path)) == tmp_path
    monkeypatch.setattr(checks, "headers", lambda include=None: None)
    with pytest.raises(SetupError, match=r"apt install python3\.\d+-dev"):
        checks.check_headers()


def test_zig_wrappers_call_the_wheel(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    env = checks.write_zig_wrappers(tmp_path / "bin", fake)
    answer = subprocess.run([env["CXX"], "-Wl,-rpath-link,/lib", "-c", "a file.cpp"], capture_output=True, text=True, check=True)
    assert answer.stdout == "-m ziglang c++ -c a file.cpp\n"


def checkout(tmp_path: Path) -> Workspace:
    for lock in DISTROS.values():
        (tmp_path / lock).write_text("a==1\n")
    package = tmp_path / "src" / "p" / "p"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "src" / "p" / "package.xml").write_text("<package/>")
    (tmp_path / "config").mkdir()
    stamps = Stamps(tmp_path / ".apprentice")
    return Workspace(tmp_path, Environment(tmp_path, stamps, Progress()), stamps, Progress())


def test_what_makes_a_workspace_stale(tmp_path: Path) -> None:
    workspace = checkout(tmp_path)
    before = workspace.wanted
    (tmp_path / "src" / "p" / "p" / "code.py").write_text("x = 1")
    assert workspace.wanted == before  # Python is linked
    (tmp_path / "src" / "p" / "A.msg").write_text("int32 x")
    changed = workspace.wanted
    assert changed != before
    (tmp_path / "config" / "new.yaml").touch()
    assert workspace.wanted not in {before, changed}


def test_the_distribution_decides_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = checkout(tmp_path)
    monkeypatch.setenv("APPRENTICE_ROS_DISTRO", "kilted")
    assert Environment(tmp_path, workspace.stamps, Progress()).lock.name == "requirements-kilted.lock"
    monkeypatch.setenv("APPRENTICE_ROS_DISTRO", "foxy")
    with pytest.raises(SetupError, match="jazzy and kilted only"):
        Environment(tmp_path, workspace.stamps, Progress())


def test_run_environment_puts_the_workspace_first_and_drops_a_foreign_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = checkout(tmp_path)
    workspace.saved.parent.mkdir(parents=True, exist_ok=True)
    workspace.saved.write_text('{"paths": {"PYTHONPATH": ["/w/a", "/w/b"]}, "distro": "jazzy"}')
    monkeypatch.setenv("PYTHONPATH", f"/mine{os.pathsep}/w/b")
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    env = workspace.run_environment()
    assert env["PYTHONPATH"] == "/w/a:/w/b:/mine"
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in env and env["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_locks_pin_every_line_and_hold_what_is_asked_for() -> None:
    import re

    asked = {
        re.split(r"[=<>\[ #]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line[:1].isalpha()
    }
    for lock in DISTROS.values():
        lines = [x for x in (ROOT / lock).read_text().splitlines() if not x.startswith("#")]
        assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.!]+", x) for x in lines)
        missing = {a for a in asked if not a.startswith("ros-")} - {x.split("==")[0] for x in lines}
        assert not missing, (lock, missing)
