"""The pure parts of Watch: mailbox, link, alarms, state, training curves, arm model."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading

import numpy as np
import pytest

from apprentice_core.config import load_robot, urdf_path
from apprentice_core.errors import ConfigError
from apprentice_core.urdf import UrdfTree
from apprentice_studio.alarms import AlarmBoard
from apprentice_studio.arm_model import arm_model
from apprentice_studio.mailbox import Mailbox
from apprentice_studio.runs import POINTS, RunReader
from apprentice_studio.watch_link import MAX_BODY, json_frame, pack, picture_frame, picture_header, read_frame, receive_frame
from apprentice_studio.watch_state import WatchState


class TestMailbox:
    def test_the_newest_of_a_key_wins_and_a_series_is_kept_in_order(self):
        box = Mailbox()
        for i in range(100):
            box.put("camera", i)
            box.push(f"wrench {i}")
        assert box.take() == [99, *(f"wrench {i}" for i in range(100))]
        assert box.take() == [] and box.dropped == 0

    def test_a_series_is_bounded_and_what_fell_out_is_counted(self):
        box = Mailbox(depth=10)
        for i in range(25):
            box.push(i)
        assert len(box) == 10 and box.dropped == 15 and box.take() == list(range(15, 25))

    def test_threads_that_put_are_never_held_and_nothing_is_taken_twice(self):
        box, taken = Mailbox(depth=100_000), []
        threads = [threading.Thread(target=lambda k=k: [box.push((k, i)) for i in range(5000)]) for k in range(4)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            taken += box.take()
        taken += box.take()
        assert [[i for k, i in taken if k == n] for n in range(4)] == [list(range(5000))] * 4


class TestLink:
    def test_frames_cross_in_order_and_the_end_is_seen(self):
        ours, theirs = socket.socketpair()
        picture = picture_frame({"camera": "wrist", "stamp": 1.5}, b"\x89PNG" + bytes(100_000))
        sender = threading.Thread(target=lambda: (theirs.sendall(pack(json_frame({"t": "a"})) + pack(picture)), theirs.close()))
        sender.start()
        assert receive_frame(ours) == (0, b'{"t":"a"}')
        assert receive_frame(ours) == picture
        assert receive_frame(ours) is None
        sender.join()
        assert picture_header(picture[1]) == {"camera": "wrist", "stamp": 1.5}

    def test_an_absurd_length_is_refused_before_anything_is_stored(self):
        async def read() -> None:
            reader = asyncio.StreamReader()
            reader.feed_data((MAX_BODY + 1).to_bytes(4, "big") + b"\0")
            await read_frame(reader)

        with pytest.raises(ValueError, match="a frame of"):
            asyncio.run(read())

    @pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05abc", b"\x00\x02[]", b"\x00\x02\xff\xff"])
    def test_a_picture_without_a_header_is_refused(self, body):
        with pytest.raises(ValueError, match="not a picture"):
            picture_header(body)

    def test_nan_cannot_leave_unseen(self):
        with pytest.raises(ValueError):
            json_frame({"x": float("nan")})


EVENT = {"code": "workspace", "stage": "workspace", "outcome": "clamped", "message": "at the wall"}


class TestAlarms:
    def test_events_that_repeat_are_counted_and_do_not_bury_the_rest(self):
        board = AlarmBoard()
        board.event({**EVENT, "code": "force_hard", "outcome": "retreat", "message": "40 N"}, 0.0)
        for i in range(300):
            board.event(EVENT, 0.1 * i)
        rows = board.listing()
        assert [(r["message"], r["count"], r["level"]) for r in rows] == [("at the wall", 300, "info"), ("40 N", 1, "error")]
        board.event(EVENT, 100.0)
        assert [r["count"] for r in board.listing()] == [1, 300, 1]

    def test_conditions_stand_until_they_end_worst_first(self):
        board = AlarmBoard()
        board.diagnostic("force_node: wrench", 1, "45 Hz", 1.0)
        board.raise_("estop", "error", "estop", "pressed", 2.0)
        board.diagnostic("force_node: wrench", 0, "fine", 3.0)
        board.diagnostic("camera: rate", 3, "stale", 4.0)
        assert [(r["source"], r["active"]) for r in board.listing()] == [
            ("estop", True), ("camera: rate", True), ("force_node: wrench", False),
        ]

    def test_a_node_that_spoke_and_falls_silent_raises_until_it_speaks_again(self):
        board = AlarmBoard()
        board.diagnostic("mux", 0, "", 0.0)
        board.silent_nodes(3.0)
        assert board.listing() == []
        board.silent_nodes(5.0)
        assert board.listing()[0]["message"] == "says nothing any more"
        board.diagnostic("mux", 0, "", 6.0)
        board.silent_nodes(6.5)
        assert not board.listing()[0]["active"]

    def test_the_revision_tells_when_to_send_them_again(self):
        board = AlarmBoard()
        board.raise_("a", "error", "a", "b", 0.0)
        before = board.revision
        board.raise_("a", "error", "a", "b", 1.0)
        assert board.revision == before
        board.clear("a", 2.0)
        assert board.revision > before


def feed(watch: WatchState, now: float, /, **item) -> object:
    return watch.take(json_frame(item), now)


def spoken(state: WatchState, now: float, ages: dict[str, float], pace: str = "lockstep", unheard: tuple[str, ...] = ()) -> dict:
    told = feed(state, now, t="ages", ages={"safety/status": 0.0, **ages}, unheard=list(unheard), pace=pace, dropped=0, arm=True)
    assert told is not None
    return told[1]


class TestState:
    @pytest.fixture
    def state(self) -> WatchState:
        state = WatchState()
        feed(state, 0.0, t="spec", cell="cell", streams={"joints": 0.2, "camera/a": 0.2})
        return state

    def test_a_world_that_stands_still_between_episodes_is_no_alarm(self, state):
        told = spoken(state, 10.0, {"joints": 60.0, "camera/a": 60.0})
        assert told["stale"] == [] and not told["moving"] and state.alarms.listing() == []

    def test_a_silent_stream_of_a_running_episode_is(self, state):
        feed(state, 10.0, t="episode", event="start", episode="E", kind="episode")
        feed(state, 15.0, t="step", episode="E", step=3)
        told = spoken(state, 15.5, {"joints": 0.1, "camera/a": 9.0})
        assert told["stale"] == ["camera/a"] and told["episode"] == "E"
        assert [(a["source"], a["active"]) for a in state.alarms.listing()] == [("camera/a", True)]
        feed(state, 16.0, t="episode", event="end", episode="E", kind="episode")
        assert spoken(state, 16.5, {"joints": 0.1, "camera/a": 10.0})["stale"] == []
        assert not state.alarms.listing()[0]["active"]

    def test_in_realtime_a_second_is_enough(self, state):
        assert spoken(state, 1.0, {"joints": 1.5, "camera/a": 0.1}, "realtime")["stale"] == ["joints"]

    def test_an_arm_node_that_stops_speaking_is_the_first_alarm(self, state):
        spoken(state, 1.0, {})
        assert state.alarms.listing() == []
        spoken(state, 5.0, {"safety/status": 3.0})
        assert state.alarms.listing()[0]["source"] == "arm_node"

    def test_an_episode_that_began_before_studio_is_known_from_its_steps(self, state):
        feed(state, 10.0, t="step", episode="LATE", step=40)
        assert spoken(state, 10.5, {"joints": 0.1, "camera/a": 0.1})["episode"] == "LATE"

    def test_the_estop_is_an_alarm_while_it_is_latched(self, state):
        feed(state, 1.0, t="estop", latched=True, reason="smoke", by="u1", stamp=1.0)
        assert state.alarms.listing()[0]["message"] == "emergency stop by u1: smoke"
        feed(state, 2.0, t="estop", latched=False, reason="", by="", stamp=2.0)
        assert not state.alarms.listing()[0]["active"]

    def test_a_page_that_opens_gets_the_newest_and_the_traces(self, state):
        for i in range(3):
            feed(state, i, t="wrench", name="wrist/wrench", stamp=i, values=[0] * 6)
            feed(state, i, t="joints", name="joints", joints=["j"], position=[i], stamp=i)
        state.take(picture_frame({"camera": "a", "stamp": 1, "format": "rgb8"}, b"1"), 1.0)
        state.take(picture_frame({"camera": "a", "stamp": 2, "format": "rgb8"}, b"2"), 2.0)
        assert [i["stamp"] for i in state.history()] == [0, 1, 2]
        assert state.newest["joints joints"]["position"] == [2] and "spec" in state.newest
        assert state.pictures["a"].endswith(b"2")

    def test_what_was_live_is_not_shown_after_the_link_ended(self, state):
        spoken(state, 1.0, {"joints": 0.1, "camera/a": 0.1})
        feed(state, 1.0, t="safety", state="running", reason="", estop=False)
        state.lost("the process ended", 2.0)
        assert set(state.newest) == {"spec"} and state.alarms.listing()[0]["message"] == "the process ended"

    def test_a_description_that_is_no_urdf_is_an_alarm_and_no_crash(self, state):
        feed(state, 1.0, t="urdf", text="<robot name='x'><link")
        assert state.model is None and state.alarms.listing()[0]["source"] == "robot_description"


class TestRuns:
    def write(self, folder, name, rows, **config):
        run = folder / name
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
        if config:
            (run / "config.json").write_text(json.dumps(config))
        return run

    def test_curves_are_what_the_trainer_wrote(self, tmp_path):
        rows = [{"step": 10 * i, "train/loss": 1 / (i + 1), "updates_per_s": 5.0} for i in range(5)]
        self.write(tmp_path, "bc", rows, steps=100, learner={"algorithm": "bc"})
        row = RunReader(tmp_path).curves("bc")
        assert row["curves"]["train/loss"] == {"step": [0, 10, 20, 30, 40], "value": [1 / (i + 1) for i in range(5)]}
        assert (row["step"], row["steps"], row["algorithm"], row["live"], row["finished"]) == (40, 100, "bc", True, False)

    def test_a_line_that_is_being_written_and_foreign_values_are_left_out(self, tmp_path):
        run = self.write(tmp_path, "bc", [{"step": 1, "a": 1.0}, {"step": 2, "a": float("nan"), "b": "text"}, {"a": 3}, [1]])
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 3, "a": 2.')
        found = RunReader(tmp_path).curves("bc")
        assert found["curves"] == {"a": {"step": [1], "value": [1.0]}} and found["bad_lines"] == 3
        json.dumps(found, allow_nan=False)

    def test_a_long_run_is_thinned_and_a_grown_one_read_again(self, tmp_path):
        run = self.write(tmp_path, "deep/er/run", [{"step": i, "a": float(i)} for i in range(5000)])
        reader = RunReader(tmp_path)
        curve = reader.curves("deep/er/run")["curves"]["a"]
        assert len(curve["step"]) == POINTS
        np.testing.assert_allclose(curve["step"], curve["value"], atol=0.5)  # neighbours are averaged, not dropped
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 9999, "a": 0}\n')
        assert reader.listing()[0]["step"] == 9999

    @pytest.mark.parametrize("name", ["../secret", "/etc", "", ".", "bc/../../secret", "link"])
    def test_a_name_from_outside_never_becomes_a_path(self, tmp_path, name):
        self.write(tmp_path, "secret", [{"step": 1, "a": 1}])
        self.write(tmp_path / "runs", "bc", [{"step": 1, "a": 1}])
        os.symlink(tmp_path / "secret", tmp_path / "runs" / "link")
        reader = RunReader(tmp_path / "runs")
        assert [r["name"] for r in reader.listing()] == ["bc"]
        with pytest.raises(KeyError):
            reader.curves(name)

    def test_no_folder_is_no_runs(self, tmp_path):
        assert RunReader(tmp_path / "none").listing() == []


def placed(model: dict) -> dict[str, np.ndarray]:
    """Links by the model's own matrices."""
    out = {model["root"]: np.eye(4)}
    left = list(model["joints"])
    while left:
        for joint in [j for j in left if j["parent"] in out]:
            left.remove(joint)
            out[joint["child"]] = out[joint["parent"]] @ np.array(joint["matrix"]).reshape(4, 4)
    return out


class TestArmModel:
    @pytest.mark.parametrize("name", ["sawyer", "widowx"])
    def test_links_stand_where_the_urdf_puts_them(self, name):
        tree = UrdfTree(urdf_path(load_robot(name)))
        model = arm_model(tree.text)
        assert model["skipped"] == [] and sum(len(v) for v in model["links"].values()) > 10
        found = placed(model)
        for link, (rotation, position) in tree.below(model["root"], {}).items():
            np.testing.assert_allclose(found[link][:3, :3], rotation, atol=1e-9)
            np.testing.assert_allclose(found[link][:3, 3], position, atol=1e-9)

    def test_meshes_are_named_and_not_drawn(self):
        model = arm_model(
            '<robot name="r"><material name="m"><color rgba="1 0 0 1"/></material><link name="a"><visual><geometry><mesh filename="x"/>'
            '</geometry></visual><visual><geometry><sphere radius="0.1"/></geometry><material name="m"/></visual></link></robot>'
        )
        assert model["skipped"] == ["a"] and model["links"]["a"][0]["rgba"] == [1, 0, 0, 1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("<robot", "not XML"),
            ('<!DOCTYPE x [<!ENTITY a "b">]><robot name="r"/>', "document type"),
            ('<robot name="r"/>', "0 root links"),
            ('<robot name="r"><link name="a"/><link name="b"/></robot>', "2 root links"),
            ('<robot name="r"><link name="a"><visual><geometry><box size="1 2"/></geometry></visual></link></robot>', "not 3 finite"),
            ('<robot name="r"><link name="a"><visual><geometry><box size="1 2 nan"/></geometry></visual></link></robot>', "not 3 finite"),
            (
                '<robot name="r"><link name="a"/><joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint></robot>',
                "do not exist",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, text, message):
        with pytest.raises(ConfigError, match=message):
            arm_model(text)
