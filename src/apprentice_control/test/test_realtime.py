"""The periodic thread, its statistics, and the clock that never goes back."""

import os
import threading
import time

import pytest

from apprentice_control.realtime import CycleStatistics, RealtimeLoop
from apprentice_control.sim_clock import RESERVE_NS, SimClock
from apprentice_core.errors import SafetyError


class Enough(Exception):
    """Ends a loop, as whatever its body raises does."""


def _run(body, cycles=10_000, **kwargs):
    """Runs `body(number, loop)` in a loop until it was called `cycles` times; returns the loop."""
    calls = 0

    def counted():
        nonlocal calls
        calls += 1
        body(calls, loop)
        if calls == cycles:
            raise Enough

    loop = RealtimeLoop(kwargs.pop("period", 0.002), counted, **kwargs)
    with pytest.raises(Enough):
        loop.run()
    return loop


def _stall(at, seconds):
    return lambda number, _: time.sleep(seconds) if number == at else None


def test_deadlines_are_absolute():
    stamps = []
    skipped = _run(lambda *_: stamps.append(time.monotonic()), cycles=100).cycles.skipped
    # A relative sleep would add each cycle's overhead; absolute deadlines keep the mean period, but for what a busy machine skipped.
    assert stamps[99] - stamps[0] == pytest.approx((99 + skipped) * 0.002, rel=0.15)


def test_a_stall_is_an_overrun_and_a_long_one_skips():
    cycles = _run(_stall(3, 0.1), cycles=20, catch_up=5).cycles
    assert cycles.overruns >= 1
    assert cycles.skipped >= 30
    assert cycles.summary().p99 > 0.002


def test_rebase_forgives_announced_work():
    def body(number, loop):
        if number == 3:
            time.sleep(0.1)
            loop.rebase()

    assert _run(body, cycles=10, period=0.01).cycles.skipped == 0


def test_an_error_ends_the_loop_and_comes_out():
    def body():
        raise RuntimeError("motor on fire")

    with pytest.raises(RuntimeError, match="motor on fire"):
        RealtimeLoop(0.001, body).run()


def test_statistics_window():
    s = CycleStatistics(window=4)
    for late in (True, True, False, False, False, False):
        s.add(0.001, late)
    t = s.summary()
    assert (t.cycles, t.overruns, t.overrun_fraction) == (6, 2, 0.0)


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
    policies, errors = [], []

    def run():
        loop = RealtimeLoop(0.002, lambda: None, priority=10)
        try:
            loop.prepare()
            policies.append(os.sched_getscheduler(0))
        except SafetyError as error:
            errors.append(str(error))

    # A thread of its own: the priority is that of who prepares, and goes with it.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert policies == [os.SCHED_FIFO] or "not permitted" in errors[0]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
