"""The periodic thread, its statistics, and the clock that never goes back."""

import os
import threading
import time

import pytest

from apprentice_control.realtime import CycleStatistics, LatestValue, LoopCall, RealtimeLoop
from apprentice_control.sim_clock import RESERVE_NS, SimClock
from apprentice_core.errors import SafetyError


def _loop(body, period=0.002, **kwargs):
    errors = []
    return RealtimeLoop(period, body, errors.append, **kwargs), errors


def test_deadlines_are_absolute():
    stamps, done = [], threading.Event()

    def body():
        stamps.append(time.monotonic())
        if len(stamps) >= 100:
            done.set()

    loop, errors = _loop(body)
    loop.start()
    assert done.wait(5)
    loop.stop()
    assert not loop.alive and not errors
    # A relative sleep would add each cycle's overhead; absolute deadlines keep the mean period.
    assert stamps[99] - stamps[0] == pytest.approx(99 * 0.002, rel=0.15)


def test_a_stall_is_an_overrun_and_a_long_one_skips():
    calls, done = 0, threading.Event()

    def body():
        nonlocal calls
        calls += 1
        if calls == 3:
            time.sleep(0.1)
        if calls == 20:
            done.set()

    loop, _ = _loop(body, catch_up=5)
    loop.start()
    assert done.wait(5)
    loop.stop()
    assert loop.statistics.overruns >= 1
    assert loop.statistics.skipped >= 30
    assert loop.statistics.summary().p99 > 0.002


def test_rebase_forgives_announced_work():
    calls, done = 0, threading.Event()

    def body():
        nonlocal calls
        calls += 1
        if calls == 3:
            time.sleep(0.1)
            loop.rebase()
        if calls == 10:
            done.set()

    loop, _ = _loop(body, period=0.01)
    loop.start()
    assert done.wait(5)
    loop.stop()
    assert loop.statistics.skipped == 0


def test_an_error_ends_the_loop_and_is_reported():
    def body():
        raise RuntimeError("motor on fire")

    seen, reported = [], threading.Event()
    loop = RealtimeLoop(0.001, body, lambda e: (seen.append(e), reported.set()))
    loop.start()
    assert reported.wait(5)
    loop.stop()
    assert str(seen[0]) == "motor on fire" and not loop.alive


def test_statistics_window():
    s = CycleStatistics(window=4)
    for late in (True, True, False, False, False, False):
        s.add(0.001, late)
    t = s.summary()
    assert (t.cycles, t.overruns, t.overrun_fraction) == (6, 2, 0.0)


def test_latest_value_is_taken_once():
    cell = LatestValue()
    cell.put(1)
    cell.put(2)
    assert cell.take() == 2 and cell.take() is None


def test_sim_time_goes_on_over_a_restart(tmp_path):
    file = tmp_path / "clock"
    first = SimClock(file, wall_ns=1_000)
    for _ in range(10):
        first.advance(RESERVE_NS // 2)
    again = SimClock(file, wall_ns=2_000)
    assert again.now_ns > first.now_ns
    with pytest.raises(ValueError):
        again.advance(0)


def test_sim_time_survives_a_spoilt_file(tmp_path):
    file = tmp_path / "clock"
    file.write_text("not a number")
    assert SimClock(file, wall_ns=5_000).now_ns == 5_000


def test_a_priority_is_taken_or_said_to_be_refused():
    policies, seen = [], []
    done = threading.Event()

    def body():
        policies.append(os.sched_getscheduler(threading.get_native_id()))
        done.set()

    loop = RealtimeLoop(0.002, body, lambda e: (seen.append(e), done.set()), priority=10)
    loop.start()
    assert done.wait(5)
    loop.stop()
    assert policies[:1] == [os.SCHED_FIFO] or "not permitted" in str(seen[0])
    assert os.sched_getscheduler(os.getpid()) == os.SCHED_OTHER, "the main thread is given back"


def test_a_call_hands_its_error_back():
    def refuse():
        raise SafetyError("not now")

    call = LoopCall(refuse)
    call.run()
    assert call.done.is_set() and str(call.error) == "not now"
