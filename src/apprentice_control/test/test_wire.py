"""Messages between arm_node and its loop: whole, in order, without waiting, and safe to read."""

import socket

import numpy as np
import pytest

from apprentice_control.arm_command import AppliedRecord, SafetyEvent
from apprentice_control.loop_messages import TYPES, ArmOrder, Call, LoopEvent
from apprentice_control.safety import StageRecord
from apprentice_control.state_sample import SceneSample
from apprentice_control.wire import Wire


@pytest.fixture
def ends():
    a, b = socket.socketpair()
    with a, b:
        yield Wire(a, TYPES), Wire(b, TYPES)


def _record(step_id=1 << 61):
    stage = StageRecord("cap", (0.1, -0.0), (0.05, 1e-300), True, "per-axis cap")
    mixed = np.array([0.5, -1.0], dtype=np.float32)
    return AppliedRecord(step_id, "e", "policy", "applied", "", mixed, mixed * 2, [stage], 5, 7, 0.25)


def test_records_events_and_orders_come_as_they_were(ends):
    loop, node = ends
    event = LoopEvent(SafetyEvent("ik", "ik", "clamped", 3, "e", 1.5, (1.0,), (2.0,), "short"), 12)
    scene = SceneSample(9, 2, np.arange(3.0), np.zeros((2, 7)), {"block": (np.ones(7), np.zeros(6))}, "{}", True)
    loop.send(_record(), event)
    loop.send(scene)
    record, told, seen = node.receive(1.0)
    assert record.step_id == 1 << 61 and record.executed.dtype == np.float32 and record.executed.tolist() == [1.0, -2.0]
    assert record.stages[0] == _record().stages[0] and told == event
    assert seen.connected is True and seen.base_poses.shape == (2, 7) and seen.objects["block"][0].tolist() == [1.0] * 7
    node.send(ArmOrder(4, "e", "policy", "s", "h", (float("nan"), float("inf"))), Call(1, "reset_scene", ("normal", None)))
    order, call = loop.receive(1.0)
    assert np.isnan(order.values[0]) and np.isinf(order.values[1]) and call.arguments == ("normal", None)


def test_a_reader_that_stands_still_holds_nobody_up_and_loses_nothing(ends):
    loop, node = ends
    sent = 3000
    for k in range(sent):
        loop.send(_record(k))
    assert loop.backlog > 0, "more than a socket holds, or the test shows nothing"
    got = []
    while len(got) < sent:
        got += [r.step_id for r in node.receive(1.0)]
        loop.flush()
    assert got == list(range(sent)) and loop.backlog == 0


def test_one_message_may_be_larger_than_the_socket(ends):
    loop, node = ends
    loop.send("x" * 3_000_000)
    got = []
    while not got:
        got = node.receive(1.0)
        loop.flush()
    assert len(got[0]) == 3_000_000


def test_last_words_come_before_the_end():
    a, b = socket.socketpair()
    loop, node = Wire(a, TYPES), Wire(b, TYPES)
    loop.send("last")
    loop.close()
    assert node.receive(1.0) == ["last"]
    for use in (node.receive, lambda: node.send("anybody?")):
        with pytest.raises(EOFError):
            use()
    node.close()


def test_what_is_no_message_is_refused(ends):
    with pytest.raises(TypeError, match="Exception does not go over the wire"):
        ends[0].send(Exception("no"))
