"""Sweeping after killed processes (the dead go, whoever lives or may be about to live stays), and whose profile counts."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from apprentice_core.ros_dds import CHOSEN, PROFILE, prepare_dds, sweep_dead_segments

HOLD = "import fcntl, sys, time; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"


def port(folder: Path, name: str, age: float = 60.0, lock: str = "_el") -> Path:
    for path in (folder / name, folder / f"sem.{name}_mutex", folder / (name + lock)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    return folder / (name + lock)


def test_dead_ports_and_segments_go_with_all_their_files(tmp_path: Path) -> None:
    port(tmp_path, "fastrtps_port7003")
    port(tmp_path, "fastrtps_9d9fa92596e62ea9", lock="_sl")
    (tmp_path / "other_el").touch()
    assert sweep_dead_segments(tmp_path) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["other_el"]


def test_what_is_held_stays_until_its_holder_is_killed(tmp_path: Path) -> None:
    lock = port(tmp_path, "fastrtps_port7000")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert sweep_dead_segments(tmp_path) == 0 and len(list(tmp_path.iterdir())) == 3
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert sweep_dead_segments(tmp_path) == 1 and not list(tmp_path.iterdir())


def test_a_shared_lock_of_a_living_reader_counts(tmp_path: Path) -> None:
    lock = port(tmp_path, "fastrtps_port7400", lock="_sl")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert sweep_dead_segments(tmp_path) == 0
    assert sweep_dead_segments(tmp_path) == 1


def test_what_is_new_is_left_to_whoever_is_making_it(tmp_path: Path) -> None:
    port(tmp_path, "fastrtps_port7001", age=0.0)
    assert sweep_dead_segments(tmp_path) == 0 and len(list(tmp_path.iterdir())) == 3


def test_no_shared_memory_at_all_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep_dead_segments(tmp_path / "none") == 0


def test_our_profile_is_there_and_a_users_own_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    prepare_dds()
    assert os.environ[CHOSEN[1]] == str(PROFILE) and ElementTree.parse(PROFILE).getroot().tag.endswith("dds")
    for mine in CHOSEN:
        for name in CHOSEN:
            monkeypatch.setenv(name, "")
        monkeypatch.setenv(mine, "/etc/mine.xml")
        prepare_dds()
        assert [os.environ[n] for n in CHOSEN if os.environ[n]] == ["/etc/mine.xml"]
