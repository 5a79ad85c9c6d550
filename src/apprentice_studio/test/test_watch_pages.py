"""Watch's hub and router with a process at the other end of the link that is no cell: slow pages, lost links, refused orders."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from apprentice_store.store import Store
from apprentice_studio import watch_hub
from apprentice_studio.app import create_app
from apprentice_studio.security import Access
from apprentice_studio.watch_hub import NO_ROS, WatchHub
from apprentice_studio.watch_link import json_frame, picture_header
from apprentice_studio.watch_router import watch_routers
from apprentice_studio.watch_state import HISTORY

HOST = {"Host": "127.0.0.1:8090"}
START = """
import json, os, socket, sys, threading, time
from apprentice_studio.watch_link import json_frame, pack, picture_frame, receive_frame
link = socket.socket(fileno=int(sys.argv[-1].removeprefix("link:=")))
say = lambda **item: link.sendall(pack(json_frame(item)))
"""
FAST = START + """
say(t="spec", cell="x", streams={})
def orders():
    while (frame := receive_frame(link)) is not None:
        order = json.loads(frame[1])
        if order["order"] == "estop":
            say(t="answer", id=order["id"], error="" if order["reason"] != "deaf" else "nobody latched it", latched=True)
        elif order["order"] == "watched":
            say(t="watched", on=order["on"])
    os._exit(0)
threading.Thread(target=orders).start()
for i in range(10**9):
    link.sendall(pack(picture_frame({"camera": "a", "stamp": i, "format": "rgb8"}, bytes(30_000))))
    say(t="joints", name="joints", joints=["j"], position=[i], stamp=i)
    say(t="wrench", name="w", stamp=i, values=[i] * 6)
    time.sleep(0.002)
"""


@pytest.fixture
def open_watch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[TestClient, WatchHub]]]:
    """`open_watch(script, **options of create_app)` -> client of a running Studio, its hub."""
    monkeypatch.setattr(watch_hub, "PATIENCE", 0.2)
    with ExitStack() as stack:

        def open_it(script: str = FAST, **options: Any) -> tuple[TestClient, WatchHub]:
            hub = WatchHub(command=[sys.executable, "-c", script])
            app = create_app(store, extra_routers=watch_routers(runs=tmp_path / "runs", hub=hub), **options)
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8090")), hub

        yield open_it


def until(condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {timeout:g} s")


class Reader:
    """A page: takes a turn with its pictures, and acknowledges it when told to."""

    def __init__(self, socket: Any):
        self.socket = socket
        self.newest: dict[str, Any] = {}
        self.pictures = 0
        self.stamp = -1.0
        self.missed = 0
        self.wrenches: list[float] = []

    def turn(self, acknowledge: bool = True) -> None:
        told = self.socket.receive_json()
        self.missed = told["missed"]
        for item in told["items"]:
            self.newest[item["t"]] = item
            if item["t"] == "wrench":
                self.wrenches.append(item["stamp"])
        for _ in range(told["pictures"]):
            self.stamp = picture_header(self.socket.receive_bytes())["stamp"]
            self.pictures += 1
        if acknowledge:
            self.socket.send_json({"ack": told["turn"]})


def test_a_slow_page_delays_nobody_and_then_gets_the_newest(open_watch):
    client, hub = open_watch()
    connect = partial(client.websocket_connect, "/api/watch")
    with connect(headers=dict(HOST)) as fast_socket, connect(headers=dict(HOST)) as slow_socket:
        fast, slow = Reader(fast_socket), Reader(slow_socket)
        until(lambda: hub.state.pictures, "the first picture")
        slow.turn(acknowledge=False)
        end = time.monotonic() + 30
        while fast.pictures < 20 or hub.state.newest["joints joints"]["stamp"] < 500:
            fast.turn()
            assert time.monotonic() < end, "the fast page was held up"
        # Two turns are under way to a page that answers none; what waits for it is the newest and a bounded series.
        waiting = max(hub.pages, key=lambda p: len(p.box)).box
        assert 100 < len(waiting) <= watch_hub.PAGE_DEPTH + 10
        slow.turn(acknowledge=False)
        now = picture_header(hub.state.pictures["a"])["stamp"]
        slow_socket.send_json({"ack": 1})
        slow.turn()
        assert slow.stamp >= now > 100, "the slow page was shown an old picture"


def test_a_page_that_opens_late_gets_what_was_told_once_and_the_whole_history():
    hub = WatchHub(command=["unused"])
    hub.state.take(json_frame({"t": "spec", "cell": "x", "streams": {}}), 0.0)
    for i in range(5000):
        for kind in HISTORY:
            hub.state.take(json_frame({"t": kind, "name": "n", "episode": "E", "stamp": i}), 0.0)
    page = hub.open_page()
    told = [i["t"] for i in page.box.take()]
    assert "spec" in told and page.box.dropped == 0
    assert {kind: told.count(kind) for kind in HISTORY} == HISTORY


def test_the_series_of_a_page_that_keeps_up_has_no_gap(open_watch):
    client, hub = open_watch()
    with client.websocket_connect("/api/watch", headers=dict(HOST)) as socket:
        page = Reader(socket)
        until(lambda: "joints joints" in hub.state.newest, "the first joints")
        for _ in range(20):
            page.turn()
    assert len(page.wrenches) > 20 and page.missed == 0
    assert page.wrenches == list(range(int(page.wrenches[0]), int(page.wrenches[-1]) + 1))


def test_the_cell_is_listened_to_only_while_a_page_is_open(open_watch):
    client, hub = open_watch()
    until(lambda: hub.state.newest.get("watched"), "the link")
    assert hub.state.newest["watched"]["on"] is False
    with client.websocket_connect("/api/watch", headers=dict(HOST)) as first, client.websocket_connect("/api/watch", headers=dict(HOST)):
        until(lambda: hub.state.newest["watched"]["on"], "the order to listen")
        first.close()
        assert hub.state.newest["watched"]["on"]
    until(lambda: not hub.state.newest["watched"]["on"], "the order to stop listening")


def test_a_stop_is_told_as_done_only_when_the_cell_says_so(open_watch):
    client, _ = open_watch()
    assert client.post("/api/watch/estop", json={"user": "u1"}).json() == {"ok": True, "latched": True}
    refused = client.post("/api/watch/estop", json={"user": "u1", "reason": "deaf"})
    assert refused.status_code == 503 and refused.json() == {"error": "nobody latched it"}


def test_a_process_that_dies_is_told_of_and_started_again(open_watch, monkeypatch):
    monkeypatch.setattr(watch_hub, "BACKOFF", (0.05, 0.05))
    client, hub = open_watch(START + 'say(t="spec", cell="x", streams={})\nsys.exit(3)')
    alarms = until(lambda: [a for a in client.get("/api/watch/alarms").json()["alarms"] if a["source"] == "watch"], "the alarm")
    assert "exit 3" in alarms[0]["message"]
    until(lambda: sum(a.key == "link" for a in hub.state.alarms._past) >= 2, "another life")


def test_a_process_that_sends_nonsense_ends_its_link_and_not_the_server(open_watch):
    client, _ = open_watch(START + 'link.sendall(b"\\xff" * 50); time.sleep(60)')
    until(lambda: "not understood" in client.get("/api/watch/alarms").json()["link"]["message"], "the broken link")
    assert client.get("/api/session").status_code == 200


def test_an_order_to_a_silent_process_is_an_error_in_time(open_watch, monkeypatch):
    client, hub = open_watch(START + 'say(t="spec", cell="x", streams={})\ntime.sleep(60)')
    patient = hub.order
    monkeypatch.setattr(hub, "order", lambda kind, **fields: patient(kind, timeout=0.3, **fields))
    answer = client.post("/api/watch/estop", json={"user": "u1"})
    assert answer.status_code == 503 and "no answer from the cell" in answer.json()["error"]


def test_without_ros_the_page_says_so_and_studio_works(store, monkeypatch, tmp_path):
    monkeypatch.setattr(watch_hub.importlib.util, "find_spec", lambda name: None)
    app = create_app(store, extra_routers=watch_routers(runs=tmp_path))
    with TestClient(app, base_url="http://127.0.0.1:8090") as client:
        with client.websocket_connect("/api/watch", headers=dict(HOST)) as socket:
            assert next(i for i in socket.receive_json()["items"] if i["t"] == "link")["message"] == NO_ROS
        assert client.post("/api/watch/estop", json={"user": "u1"}).json()["error"] == NO_ROS
        assert client.get("/api/watch/urdf").status_code == 404
        assert client.get("/api/session").status_code == 200


@pytest.mark.parametrize("said", ['{"ack": "1"}', "[]", "nonsense", '{"order": "estop"}', "[" * 100_000])
def test_a_page_can_say_nothing_but_acknowledgements(open_watch, said):
    client, hub = open_watch()
    with client.websocket_connect("/api/watch", headers=dict(HOST)) as socket:
        socket.send_text(said)
        with pytest.raises(WebSocketDisconnect) as closed:
            while True:
                if (message := socket.receive())["type"] == "websocket.close":
                    raise WebSocketDisconnect(message["code"])
    assert closed.value.code == 1008
    until(lambda: not hub.pages, "the page's end")


def test_acknowledging_more_than_was_sent_ends_the_page(open_watch):
    client, hub = open_watch()
    with client.websocket_connect("/api/watch", headers=dict(HOST)) as socket:
        for turn in range(40):
            socket.send_text(json.dumps({"ack": turn}))
        until(lambda: not hub.pages, "the page's end")


def test_sockets_and_orders_need_the_token_and_the_origin(open_watch):
    client, hub = open_watch(access=Access(token="secret"))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/watch", headers=dict(HOST)):
        pass
    assert client.post("/api/watch/estop", json={"user": "u1"}).status_code == 401
    known = {"Authorization": "Bearer secret"}
    elsewhere = {"Origin": "http://elsewhere.example"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/watch", headers={**known, **HOST, **elsewhere}):
        pass
    assert not hub.pages
    foreign = client.post("/api/watch/estop", json={"user": "u1"}, headers={**known, **elsewhere})
    assert foreign.status_code == 403
    with client.websocket_connect("/api/watch", headers={**known, **HOST}) as socket:
        assert socket.receive_json()["turn"] == 1


@pytest.mark.parametrize("body", [{}, {"user": ""}, {"user": "a", "more": 1}, {"user": "a", "reason": "x" * 301}, {"user": "a\u0007b"}])
def test_orders_are_validated(open_watch, body):
    client, _ = open_watch()
    assert client.post("/api/watch/estop", json=body).status_code == 422


def test_runs_are_served(open_watch, tmp_path):
    client, _ = open_watch()
    run = tmp_path / "runs" / "bc"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"step": 5, "loss": 0.5}\n')
    assert client.get("/api/watch/runs").json()["runs"][0]["name"] == "bc"
    assert client.get("/api/watch/runs/curves", params={"name": "bc"}).json()["curves"] == {"loss": {"step": [5], "value": [0.5]}}
    assert client.get("/api/watch/runs/curves", params={"name": "../x"}).status_code == 404
