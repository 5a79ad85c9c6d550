"""Curves over HTTP: what was drawn is what is stored, and nothing is lost or overwritten unseen."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sqlite3
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from apprentice_store import catalogue as catalogue_module
from apprentice_store.testing import child_environment

CURVE = [0.0, 0.2, 0.4, 0.6, 0.9, 1.0]


def url(served, what: str, index: int = 0) -> str:
    return f"/api/episodes/{served.ids[index]}/{what}"


def sketch(served, values=CURVE, base=0, user="ann", index=0, **more):
    return served.client.put(url(served, "sketch", index), json={"task": "lift", "user": user, "values": values, "base": base, **more})


def draft(served, values, version=0, user="ann"):
    return served.client.put(url(served, "draft"), json={"task": "lift", "user": user, "values": values, "version": version})


def curves(served, user="ann", index=0):
    return served.client.get(url(served, "curves", index), params={"task": "lift", "user": user}).json()


def test_a_sketch_is_one_float32_a_frame_and_comes_back(served):
    saved = sketch(served, filled=[[1, 2]]).json()
    told = curves(served)
    [curve] = told["curves"]
    assert curve["values"] == np.float32(CURVE).tolist() and told["frames"] == 6
    assert (curve["kind"], curve["user"]) == ("sketch", "ann")
    assert (curve["revision"], curve["sequence_id"]) == (saved["revision"], saved["sequence_id"])
    [(task, kind, user, values)] = served.store.catalogue.reward_sequences(served.ids[0])
    assert (task, kind, user) == ("lift", "REWARD_SKETCH", "ann") and values.dtype == np.float32
    [filled] = [a for a in served.store.catalogue.annotations(served.ids[0]) if a.kind == "sketch_filled"]
    assert filled.value == {"sequence": saved["sequence_id"], "frames": [[1, 2]]}
    assert served.client.get("/api/episodes", params={"query": "sketch = 'lift'"}).json()["episodes"][0]["sketched"] == ["lift"]


def test_a_newer_sketch_follows_and_the_old_one_stays(served):
    first = sketch(served).json()
    second = sketch(served, [0.5] * 6, base=first["revision"]).json()
    assert second["revision"] > first["revision"] and curves(served)["curves"][0]["values"] == [0.5] * 6
    assert len(served.store.catalogue.reward_sequences(served.ids[0])) == 2


def test_who_drew_over_an_older_sketch_is_told_the_newer_one(served):
    first = sketch(served).json()
    late = sketch(served, [0.1] * 6, base=0)
    assert late.status_code == 409 and late.json()["stored"]["revision"] == first["revision"]
    assert late.json()["stored"]["values"] == np.float32(CURVE).tolist()
    assert len(served.store.catalogue.reward_sequences(served.ids[0])) == 1
    assert sketch(served, [0.1] * 6, user="bob").status_code == 200


def test_the_same_sketch_twice_is_one(served):
    first, again = sketch(served).json(), sketch(served).json()
    assert again == {**first, "new": False} and first["new"]
    assert served.client.get("/api/throughput", params={"user": "ann"}).json()["frames"] == 6


def test_many_at_once_with_one_base_leave_one_winner(served):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda i: sketch(served, [i / 10] * 6).status_code, range(6)))
    assert sorted(answers) == [200] + [409] * 5
    assert len(served.store.catalogue.reward_sequences(served.ids[0])) == 1


@pytest.mark.parametrize("values", [CURVE[:-1], [*CURVE, 0.0], [], *([*CURVE[:-1], v] for v in (1.0001, -0.1, None, "x")), "abc", None])
def test_a_sketch_with_a_missing_or_impossible_frame_is_refused(served, values):
    answer = sketch(served, values)
    assert answer.status_code == 422 and answer.json()["error"].startswith("values")
    assert served.store.catalogue.reward_sequences(served.ids[0]) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(served, number):
    for what, more in (("sketch", '"base": 0'), ("draft", '"version": 0')):
        body = f'{{"task": "lift", "user": "ann", "values": [0,0,0,0,0,{number}], {more}}}'
        answer = served.client.put(url(served, what), content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and "values.5" in answer.json()["error"]


@pytest.mark.parametrize("wrong", [
    {"user": ""}, {"user": "a\x00b"}, {"user": "x" * 201}, {"task": "../x"}, {"task": ""}, {"base": -1}, {"base": 2**70},
    {"filled": [[0, 6]]}, {"filled": [[3, 1]]}, {"filled": [[1]]}, {"extra": 1},
])
def test_wrong_fields_are_named(served, wrong):
    answer = served.client.put(url(served, "sketch"), json={"task": "lift", "user": "ann", "values": CURVE, "base": 0, **wrong})
    assert answer.status_code == 422 and answer.json()["error"].startswith(next(iter(wrong)))


def test_an_unknown_episode_is_not_sketched(served):
    body = {"task": "lift", "user": "a", "values": CURVE, "base": 0}
    answer = served.client.put("/api/episodes/01KB0000000000000000000000/sketch", json=body)
    assert answer.status_code == 404


def test_drafts_are_kept_as_drawn(served):
    partial = [None, 0.5, 0.25, None, None, None]
    assert draft(served, partial).json() == {"version": 1}
    assert draft(served, [0.5] * 6, version=1).json() == {"version": 2}
    assert curves(served)["draft"] == {"version": 2, "values": [0.5] * 6}
    assert curves(served, user="bob")["draft"] is None


def test_two_windows_of_one_user_do_not_overwrite_each_other(served):
    draft(served, [0.25] * 6)
    late = draft(served, [0.5] * 6)
    assert late.status_code == 409 and late.json()["stored"] == {"version": 1, "values": [0.25] * 6}
    assert draft(served, [0.5] * 6, version=late.json()["stored"]["version"]).status_code == 200


def test_a_sketch_takes_its_draft_up(served):
    draft(served, CURVE)
    sketch(served)
    told = curves(served)
    assert told["draft"] is None and told["draft_version"] == 1
    assert draft(served, [0.5] * 6, version=0).json() == {"version": 2}
    assert curves(served)["draft"]["values"] == [0.5] * 6


def test_a_draft_can_be_dropped(served):
    draft(served, CURVE)
    served.client.request("DELETE", url(served, "draft"), params={"task": "lift", "user": "ann"})
    assert curves(served)["draft"] is None


def test_drafts_of_wrong_length_are_refused(served):
    assert draft(served, [None] * 5).status_code == 422


def test_a_predicted_reward_is_a_ghost_of_its_model(served):
    served.store.catalogue.add_reward_sequence(served.ids[0], "lift", np.float32([0, 1, np.nan, 0, 0, 0]), "model-1", "REWARD_PREDICTION")
    [curve] = curves(served)["curves"]
    assert curve["kind"] == "model" and curve["model_id"] == "model-1" and curve["values"] == [0, 1, None, 0, 0, 0]


def test_a_locked_catalogue_is_told_and_loses_nothing(served, monkeypatch):
    monkeypatch.setattr(catalogue_module, "BUSY_TIMEOUT", 0.1)
    served.store.catalogue.close()  # connections keep the timeout that they were opened with
    other = sqlite3.connect(served.store.folder / "catalogue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = sketch(served)
    assert answer.status_code == 503 and "locked" in answer.json()["error"]
    other.rollback()
    assert sketch(served).status_code == 200
    other.close()


SERVER = """
import sys, uvicorn
from apprentice_store.store import Store
from apprentice_studio.app import create_app
uvicorn.run(create_app(Store(sys.argv[1])), port=int(sys.argv[2]), log_level="error")
"""


def test_drafts_survive_a_killed_server(served):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(served.store.folder), str(port)], env=child_environment())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(200):
                try:
                    client.get("/api/session")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            version = 0
            for i in range(5):
                values = [i / 10] * 6
                body = {"task": "lift", "user": "ann", "values": values, "version": version}
                version = client.put(url(served, "draft"), json=body).json()["version"]
            os.kill(server.pid, signal.SIGKILL)
            server.wait(10)
    finally:
        server.kill()
        server.wait()
    assert curves(served)["draft"] == {"version": 5, "values": np.float32([0.4] * 6).tolist()}


def test_throughput_counts_time_at_work(served):
    from apprentice_studio.throughput import Throughput

    now = [0.0]
    work = Throughput(lambda: now[0])
    for at, frames in ((0, 0), (10, 0), (30, 200), (1000, 0), (1030, 200)):
        now[0] = at
        work.seen("ann", frames)
    told = work.of("ann")
    assert told == {"frames": 400, "minutes": 1.0, "frames_per_minute": 400.0} and work.of("bob")["frames_per_minute"] == 0
