"""Real processes under the runner: signals, respawn, exit codes, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

TRAP = 'trap "echo bye; exit 0" INT TERM\necho up\n'
WAIT = "while :; do sleep 0.05; done\n"
SCRIPTS = {
    "good": TRAP + WAIT,
    "stubborn": 'trap "" INT\ntrap "" TERM\necho up\n' + WAIT,
    "family": f"{TRAP}sleep 300 &\n{WAIT}",
    "dies": "echo up\nexit 3\n",
    "brief": 'echo "$GREETING"; echo "$@"; printf unfinished\n',
    "flaky": 'echo "try"\nif [ -e "$MARK" ]; then exit 0; fi\ntouch "$MARK"\nexit 1\n',
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "prefix" / "lib" / "p"
    folder.mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    return tmp_path / "prefix"


class Running:
    """`apprentice launch` on a file of the given nodes."""

    def __init__(self, prefix: Path, *nodes: str):
        file = prefix.parent / "t.launch.xml"
        file.write_text("<launch>" + "".join(nodes) + "</launch>")
        self.out = (prefix.parent / "out.txt").open("w+")
        env = {**os.environ, "AMENT_PREFIX_PATH": str(prefix)}
        command = [sys.executable, "-m", "apprentice_workflows", "launch", "--own", str(file)]
        self.process = subprocess.Popen(command, env=env, stdout=self.out, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def text(self) -> str:
        return Path(self.out.name).read_text()

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.text
            time.sleep(0.02)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def node(executable: str, attributes: str = "", inside: str = "") -> str:
    return f'<node pkg="p" exec="{executable}" {attributes}>{inside}</node>'


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_nodes_and_their_children(prefix: Path, number: int) -> None:
    run = Running(prefix, node("good", 'name="one"'), node("family", 'name="two"'))
    run.until(lambda: run.text.count("] up") == 2)
    family = run.family()
    assert len(family) >= 4  # two nodes, the sleep, the guardian
    os.kill(run.process.pid, number)
    assert run.process.wait(20) == 0, run.text
    assert gone(family)
    assert "[one] bye" in run.text and run.text.index("[two] ended") > 0


def test_kill_9_of_the_runner_leaves_no_orphan(prefix: Path) -> None:
    run = Running(prefix, node("good"), node("family"))
    run.until(lambda: run.text.count("] up") == 2)
    family = run.family()
    run.process.kill()
    run.process.wait(5)
    run.until(lambda: gone(family))


def test_a_node_that_ignores_signals_is_killed_and_reported(prefix: Path) -> None:
    run = Running(prefix, node("stubborn"), node("good"))
    run.until(lambda: run.text.count("] up") == 2)
    family = run.family()
    for count in (1, 2, 3):  # a further Ctrl-C goes on to the next signal at once
        os.kill(run.process.pid, signal.SIGINT)
        run.until(lambda count=count: run.process.poll() is not None or run.text.count("does not end") >= count - 1)
    assert run.process.wait(20) == 1
    assert "SIGTERM" in run.text and "SIGKILL" in run.text and "[good] bye" in run.text
    assert gone(family)


def test_output_environment_arguments_and_exit_codes(prefix: Path) -> None:
    run = Running(prefix, node("brief", 'name="b" args="--flag"', '<env name="GREETING" value="hello"/><param name="k" value="1"/>'))
    assert run.process.wait(20) == 0
    assert "[b] hello\n" in run.text and "[b] --flag --ros-args -r __node:=b -p k:=1\n" in run.text and "[b] unfinished\n" in run.text
    failing = Running(prefix, node("dies"))
    assert failing.process.wait(20) == 1
    assert "[dies] FAILED: exit code 3" in failing.text


def test_respawn(prefix: Path) -> None:
    mark = prefix.parent / "mark"
    run = Running(prefix, node("flaky", 'respawn="true" respawn_delay="0.01"', f'<env name="MARK" value="{mark}"/>'))
    run.until(lambda: run.text.count("[flaky] try") >= 2)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(20) == 0, run.text


def test_unknown_executables_are_named_before_anything_starts(prefix: Path) -> None:
    run = Running(prefix, node("good"), node("nonesuch"))
    assert run.process.wait(20) == 2
    assert "no executable 'nonesuch'; it has: brief, dies" in run.text and "started" not in run.text
