"""When messages of a bag are due, and which are given out."""

import json

import pytest
from mcap.writer import Writer

from apprentice_core.errors import BagError
from apprentice_runtime.replay import BagReplay, ReplaySchedule

SECOND = 1_000_000_000
LATCHED = "- history: keep_last\n  depth: 1\n  reliability: reliable\n  durability: transient_local\n"


@pytest.fixture
def bag(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    with (folder / "bag_0.mcap").open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channels = {
            name: writer.register_channel(name, "cdr", schema, {"offered_qos_profiles": qos})
            for name, qos in (
                ("/cell/joint_states", ""), ("/cell/robot_description", LATCHED), ("/cell/action", ""), ("/cell/action/teleop", ""),
            )
        }
        writer.add_message(channels["/cell/robot_description"], 10 * SECOND, b"urdf", 10 * SECOND)
        for k in range(11):
            for name in ("/cell/joint_states", "/cell/action", "/cell/action/teleop"):
                writer.add_message(channels[name], 10 * SECOND + k * SECOND // 10, json.dumps([name, k]).encode(), 0)
        writer.finish()
    return folder


def _times(schedule, steps):
    return [(now, len(schedule.due(now))) for now in steps]


def test_commands_are_left_out_unless_asked_for(bag):
    assert set(BagReplay(bag).topics) == {"/cell/joint_states", "/cell/robot_description"}
    assert set(BagReplay(bag).skipped) == {"/cell/action", "/cell/action/teleop"}
    assert "/cell/action" in BagReplay(bag, commands=True).topics
    assert set(BagReplay(bag, topics=["/cell/action"]).topics) == {"/cell/action"}


def test_relative_timing_and_rate(bag):
    schedule = ReplaySchedule(BagReplay(bag, topics=["/cell/joint_states"]), rate=2.0, loop=False)
    assert _times(schedule, [100.0, 100.04, 100.051, 100.26, 100.6]) == [(100.0, 1), (100.04, 0), (100.051, 1), (100.26, 4), (100.6, 5)]
    assert schedule.done


def test_bytes_are_as_recorded_and_in_order(bag):
    got = list(BagReplay(bag, topics=["/cell/joint_states"]).messages())
    assert [json.loads(m.cdr)[1] for m in got] == list(range(11))


def test_a_window_still_brings_what_was_latched_before_it(bag):
    replay = BagReplay(bag, start=0.25, end=0.65)
    got = list(replay.messages())
    assert [m.topic for m in got] == ["/cell/robot_description"] + ["/cell/joint_states"] * 4
    assert replay.duration == pytest.approx(0.4)


def test_looping_keeps_the_period(bag):
    schedule = ReplaySchedule(BagReplay(bag, topics=["/cell/joint_states"]), rate=1.0, loop=True)
    counts = sum(len(schedule.due(5.0 + 0.01 * k)) for k in range(351))
    assert schedule.laps == 3 and counts == pytest.approx(3 * 11 + 6, abs=1)
    assert not schedule.done


def test_torn_empty_and_unknown(bag, tmp_path):
    with pytest.raises(BagError, match="no topic"):
        BagReplay(bag, topics=["/cell/nothing"])
    with pytest.raises(BagError, match=r"no \.mcap file"):
        BagReplay(tmp_path / "nowhere")
    file = bag / "bag_0.mcap"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BagError, match="store repair"):
        BagReplay(bag)
