"""The control loop in its own process (pace realtime), without ROS: what it tells, what it obeys, and who outlives whom."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from apprentice_control.arm_command import AppliedRecord
from apprentice_control.arm_link import ArmLink
from apprentice_control.arm_session import ArmSession, claim
from apprentice_control.loop_messages import TYPES, ArmOrder, LoopEvent
from apprentice_control.loop_process import LoopOptions, serve
from apprentice_control.state_sample import ArmSample, SceneSample
from apprentice_control.wire import Wire
from apprentice_core.cell_factory import effective_limits, policy_action_space
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import SafetyError

CELL, TASK = load_cell("sawyer_lift"), load_task("lift_demo")
ROBOT = load_robot(CELL.robot)
SPACE = policy_action_space(effective_limits(ROBOT, CELL, TASK), TASK)
FORWARD = np.array([0.5, 0, 0, 0, 0, 0, 1.0], dtype=np.float32)


def _options(folder: Path, **changes: Any) -> LoopOptions:
    return LoopOptions(**{
        "cell": CELL.name, "task": TASK.name, "seed": 0, "state_folder": str(folder), "state_rate": 100.0, "scene_rate": 20.0,
        "priority": -1, **changes,
    })


def _order(step_id: int, values: Any = FORWARD, space_hash: str = SPACE.hash) -> ArmOrder:
    return ArmOrder(step_id, "e", "test", SPACE.name, space_hash, values)


class Listener:
    """Keeps what an ArmLink reports."""

    def __init__(self, link: ArmLink):
        self.link, self.told = link, list[Any]()

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.told += self.link.reports()
            found = condition()
            if found:
                return found
            time.sleep(0.005)
        raise AssertionError(f"{what}: not within {timeout:g} s")

    def of(self, kind: type) -> list[Any]:
        return [m for m in self.told if isinstance(m, kind)]


@pytest.fixture
def link(tmp_path: Path) -> Iterator[ArmLink]:
    made = ArmLink(ROBOT, _options(tmp_path))
    yield made
    made.close()


def _gone(pid: int, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_an_order_moves_the_arm_and_all_is_told_once(link: ArmLink, tmp_path: Path) -> None:
    assert "scene" in link.facts.capabilities and link.facts.objects and link.facts.period == 0.001
    listener = Listener(link)
    first = listener.until(lambda: listener.of(ArmSample), "samples")[0]
    step = time.time_ns()
    for k in range(4):
        link.obey(_order(step + k))
        listener.until(lambda: link.status.state == "running", "running")
        time.sleep(0.1)
    link.obey(_order(step + 4, space_hash="00"))
    listener.until(lambda: len(listener.of(AppliedRecord)) == 5, "five records")
    records = listener.of(AppliedRecord)
    assert [r.step_id for r in records] == [step + k for k in range(5)]
    assert [r.outcome for r in records] == ["applied"] * 4 + ["hold"] and records[0].mixed.tolist() == FORWARD.tolist()
    assert [e.event.code for e in listener.of(LoopEvent) if e.event.code == "action_space"] == ["action_space"]
    last = listener.of(ArmSample)[-1]
    assert last.pose[0] - first.pose[0] > 0.005 and first.twist.shape == (6,), "the tool went forward"
    stamps = np.diff([s.stamp for s in listener.of(ArmSample)])
    assert stamps.min() > 0 and np.median(stamps) == pytest.approx(1e7, rel=0.5)
    scenes = listener.of(SceneSample)
    assert json.loads(scenes[0].description)["version"] == scenes[0].version and not any(s.description for s in scenes[1:])
    assert link.statistics.cycles > 100
    link.tare()
    description = link.reset_scene("", 5)
    listener.until(lambda: listener.of(SceneSample)[-1].version > scenes[0].version, "the new scene")
    assert next(s for s in listener.of(SceneSample) if s.version > scenes[0].version).description == description
    with pytest.raises(SafetyError, match="nowhere"):
        link.reset_scene("nowhere", None)
    with pytest.raises(SafetyError, match="another arm_node"):
        ArmLink(ROBOT, _options(tmp_path))


def test_the_emergency_stop_is_latched_on_disk_and_survives(link: ArmLink, tmp_path: Path) -> None:
    listener = Listener(link)
    link.obey(_order(1))
    listener.until(lambda: link.status.state == "running", "running")
    link.request_estop("hand in the cell", "test")
    listener.until(lambda: link.status.latched and link.status.state == "stopped", "stopped")
    assert json.loads((tmp_path / "estop.json").read_text())["reason"] == "hand in the cell"
    record = listener.until(lambda: listener.of(AppliedRecord), "the record of the answer that ran")[0]
    assert (record.outcome, record.reason) == ("stop", "estop")
    at = len(listener.told)
    listener.until(lambda: len([m for m in listener.told[at:] if isinstance(m, ArmSample)]) > 20, "samples of the stopped arm")
    assert np.abs(listener.of(ArmSample)[-1].velocity).max() < 0.01, "the brakes hold it"
    with pytest.raises(SafetyError, match="still there"):
        link.reset_estop()
    time.sleep(1.0)
    link.reset_estop()
    assert not link.status.latched and link.status.state == "hold" and not (tmp_path / "estop.json").exists()


def test_a_killed_loop_is_noticed(link: ArmLink) -> None:
    link.process.kill()
    with pytest.raises(SafetyError, match=r"has ended \(process \d+, exit -9\)"):
        Listener(link).until(lambda: False, "the end")


def test_a_loop_that_hangs_is_killed_and_an_emergency_stop_is_not_lost_with_it(link: ArmLink, tmp_path: Path) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)
    link.request_estop("it does not react", "test")
    with pytest.raises(SafetyError, match="says nothing"):
        Listener(link).until(lambda: False, "silence")
    assert _gone(link.process.pid, 2.0)
    link.close()
    assert json.loads((tmp_path / "estop.json").read_text())["reason"] == "it does not react"


def test_the_loop_hears_no_signal_but_ends_with_its_parent(tmp_path: Path) -> None:
    """Ctrl-C and the launcher's SIGTERM reach the whole group; a parent killed with -9 says nothing at all."""
    parent = subprocess.Popen(
        [sys.executable, "-c", (
            "import sys, time\n"
            "from apprentice_control.arm_link import ArmLink\n"
            "from apprentice_control.loop_process import LoopOptions\n"
            "from apprentice_core.config import load_robot\n"
            "import json\n"
            "link = ArmLink(load_robot('sawyer'), LoopOptions(**json.loads(sys.argv[1])))\n"
            "print(link.process.pid, flush=True)\n"
            "time.sleep(600)\n"
        ), _options(tmp_path).to_json()], stdout=subprocess.PIPE, text=True,
    )
    assert parent.stdout is not None
    loop = int(parent.stdout.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(loop, number)
    assert not _gone(loop, 0.3)
    with pytest.raises(SafetyError, match="another arm_node"):
        claim(tmp_path)
    parent.kill()
    parent.wait()
    assert _gone(loop, 5.0)
    claim(tmp_path).close()


def test_the_arm_brakes_when_nobody_is_left_and_when_the_loop_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ArmSession(ROBOT, CELL, TASK, "realtime", 0, tmp_path)
    stops: list[float] = []
    stop = session.backend.stop_commanding
    monkeypatch.setattr(session.backend, "stop_commanding", lambda: (stops.append(time.monotonic()), stop()))
    ends = [socket.socketpair() for _ in range(2)]
    node = Wire(ends[0][0], TYPES)
    node.send(_order(1))

    def leave_once_obeyed() -> None:
        while not any(isinstance(m, AppliedRecord) for m in node.receive(0.1)):
            pass
        node.close()

    thread = threading.Thread(target=leave_once_obeyed)
    thread.start()
    serve(session, Wire(ends[0][1], TYPES), _options(tmp_path, priority=0))
    thread.join()
    assert len(stops) == 1 and session.loop.state in ("running", "hold")
    session.backend.read = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        serve(session, Wire(ends[1][1], TYPES), _options(tmp_path, priority=0))
    assert len(stops) == 2
    session.close()
    for pair in ends:
        for end in pair:
            end.close()
