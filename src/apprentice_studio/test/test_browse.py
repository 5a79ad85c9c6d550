"""Lists, details, frames and thumbnails of real bags."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import threading

import numpy as np
import pytest

from apprentice_core.images import decode_png
from apprentice_store.frames import EpisodeFrames
from apprentice_store.testing import make_episode
from apprentice_studio import bags, thumbnails
from apprentice_studio.routes import thumbnails as routes_thumbnails
from apprentice_studio.server import bound


def test_list_is_newest_first_and_pages(served):
    page = served.client.get("/api/episodes", params={"limit": 2}).json()
    assert page["total"] == 3 and [e["episode_id"] for e in page["episodes"]] == served.ids[:0:-1]
    rest = served.client.get("/api/episodes", params={"limit": 2, "offset": 2}).json()
    [last] = rest["episodes"]
    assert last["episode_id"] == served.ids[0] and last["tags"] == ["made"] and last["steps"] == 5 and last["success"] is True


def test_query_filters_and_a_wrong_one_is_told_in_one_line(served):
    found = served.client.get("/api/episodes", params={"query": "source = 'policy'"}).json()
    assert [e["episode_id"] for e in found["episodes"]] == [served.ids[1]] and found["total"] == 1
    for wrong in ("source = ", "1; drop table Episodes", "nosuch = 1", "(" * 60 + ")" * 60, "task = 'a' or --"):
        answer = served.client.get("/api/episodes", params={"query": wrong})
        assert answer.status_code == 400 and answer.json()["error"].startswith("query") and "\n" not in answer.json()["error"]


def test_details_say_who_acted_and_which_cameras(served):
    told = served.client.get(f"/api/episodes/{served.ids[0]}").json()
    assert told["segments"] == [{"actor": "expert", "first": 0, "last": 4}] and told["actors"] == ["expert"] * 5
    assert told["cameras"]["front"] == {"height": 16, "width": 24, "depth": False} and told["cameras"]["depth"]["depth"]
    assert told["frames"] == 6 and told["metadata"]["pace"] == "lockstep"
    assert [a["name"] for a in told["annotations"] if a["kind"] == "tag"] == ["made"]


def test_every_frame_is_the_one_that_the_action_answered(served):
    made = served.made[0]
    for camera in ("front", "depth"):
        for step, observation in enumerate(made.observations):
            answer = served.client.get(f"/api/episodes/{made.episode_id}/frames/{camera}/{step}.png")
            assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
            np.testing.assert_array_equal(decode_png(answer.content), observation[f"camera/{camera}"])


def test_depth_can_be_seen(served):
    image = decode_png(served.client.get(f"/api/episodes/{served.ids[0]}/frames/depth/2.png", params={"view": True}).content)
    depth = served.made[0].observations[2]["camera/depth"].astype(int)
    assert image.dtype == np.uint8 and (image == np.minimum(depth, 2000) * 255 // 2000).all()


@pytest.mark.parametrize("path", ["front/6.png", "side/0.png", "front/-1.png", "..%2f..%2fetc/0.png", "front/x.png"])
def test_frames_that_are_not_there(served, path):
    answer = served.client.get(f"/api/episodes/{served.ids[0]}/frames/{path}")
    assert answer.status_code in (404, 422) and answer.json()["error"]


def test_unknown_and_impossible_ids(served):
    assert served.client.get("/api/episodes/01KB0000000000000000000000").status_code == 404
    for wrong in ("..%2f..%2fcatalogue.sqlite", "%2e%2e", "x" * 26, served.ids[0].lower(), served.ids[0] + "%00", "*"):
        assert served.client.get(f"/api/episodes/{wrong}").status_code in (404, 422), wrong
        assert served.client.get(f"/api/episodes/{wrong}/frames/front/0.png").status_code in (404, 422), wrong


def pictures(served, *ids: str) -> dict[str, np.ndarray | None]:
    answer = served.client.get("/api/thumbnails", params={"ids": ",".join(ids)})
    assert answer.status_code == 200
    head = "data:image/png;base64,"
    told = answer.json()["thumbnails"].items()
    return {i: None if a is None else decode_png(base64.b64decode(a.removeprefix(head), validate=True)) for i, a in told}


def test_thumbnails_of_a_page_come_in_one_answer_and_are_drawn_once(served, monkeypatch):
    first = pictures(served, *served.ids)
    for made in served.made:
        np.testing.assert_array_equal(first[made.episode_id], made.observations[2]["camera/front"])
    monkeypatch.setattr(thumbnails, "middle_frame", lambda path: pytest.fail("read the bag again"))
    again = pictures(served, *served.ids)
    assert all(np.array_equal(first[i], again[i]) for i in served.ids)


def test_a_thumbnail_that_cannot_be_had_leaves_the_others(served):
    shutil.rmtree(served.made[0].path)
    [file] = served.made[1].path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-400])
    unknown = "01KB0000000000000000000000"
    got = pictures(served, *served.ids, unknown)
    assert [i for i, p in got.items() if p is None] == [served.ids[0], served.ids[1], unknown] and got[served.ids[2]] is not None


def test_a_slow_bag_does_not_hold_back_what_is_there(served, monkeypatch):
    pictures(served, served.ids[2])
    monkeypatch.setattr(routes_thumbnails, "PATIENCE", 0.0)
    some = pictures(served, *served.ids)
    assert set(some) == {served.ids[0], served.ids[2]}, "those that are drawn, and one more"
    assert set(pictures(served, *served.ids)) == set(served.ids)


def test_a_repaired_bag_is_drawn_anew(served):
    before = pictures(served, served.ids[0])[served.ids[0]]
    shutil.rmtree(served.made[0].path)
    shutil.copytree(served.made[1].path, served.made[0].path)
    os.utime(served.made[0].path)
    assert not np.array_equal(pictures(served, served.ids[0])[served.ids[0]], before)


ONE = "01KB0000000000000000000000"


@pytest.mark.parametrize("ids", ["", "x", "../catalogue", f"{ONE},", f"{ONE},../x", ",".join([ONE] * 51)])
def test_thumbnails_of_impossible_ids(served, ids):
    assert served.client.get("/api/thumbnails", params={"ids": ids}).status_code == 422


def test_the_newest_page_is_drawn_before_it_is_asked_for(served, monkeypatch):
    kept = served.client.app.state.studio.thumbnails
    shutil.rmtree(served.made[1].path)
    kept.prepare(50, threading.Event())
    assert kept.kept(served.ids[0]) and kept.kept(served.ids[2]) and kept.kept(served.ids[1]) is None


def test_an_answer_of_two_writes_does_not_wait_for_an_acknowledgement():
    async def accepted() -> int:
        with bound("127.0.0.1", 0) as listener:
            found = asyncio.get_running_loop().create_future()
            server = await asyncio.start_server(lambda _, writer: found.set_result(writer.get_extra_info("socket")), sock=listener)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            no_delay = (await found).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.close()
            return no_delay

    assert asyncio.run(accepted()) == 1


def test_few_bags_stay_open(store):
    made = [make_episode(store, steps=2, seed=i).episode_id for i in range(4)]
    cache = bags.BagCache(store, size=2)
    kept = [cache.get(i) for i in made]
    assert len(cache) == 2 and cache.get(made[3]) is kept[3] and cache.get(made[0]) is not kept[0]


def test_a_bag_deleted_under_the_store_leaves_the_rest(served):
    shutil.rmtree(served.made[1].path)
    gone = served.client.get(f"/api/episodes/{served.ids[1]}")
    assert gone.status_code == 404 and "bag is missing" in gone.json()["error"]
    assert served.client.get("/api/episodes").json()["total"] == 3
    assert served.client.get(f"/api/episodes/{served.ids[0]}").status_code == 200


def test_a_damaged_bag_is_one_line(served):
    [file] = served.made[1].path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-400])
    answer = served.client.get(f"/api/episodes/{served.ids[1]}/frames/front/0.png")
    assert answer.status_code == 422 and "torn" in answer.json()["error"]


def test_a_slow_camera_keeps_the_frame_before(served, monkeypatch):
    frames = served.client.app.state.studio.bags.get(served.ids[0])
    reader = frames.reader
    silent = [p if t != 3 else {k: v for k, v in p.items() if k != "camera/front"} for t, p in enumerate(reader.parts)]
    monkeypatch.setattr(reader, "parts", silent)
    again = EpisodeFrames(reader)
    assert again.png("front", 3) == again.png("front", 2) != again.png("front", 4)


def test_tags_and_hiding(served):
    url = f"/api/episodes/{served.ids[0]}"
    assert served.client.post(f"{url}/tags", json={"name": " good ", "present": True, "user": "u1"}).json()["tags"] == ["good", "made"]
    assert served.client.post(f"{url}/tags", json={"name": "made", "present": False, "user": "u1"}).json()["tags"] == ["good"]
    for wrong in ({"name": ""}, {"user": ""}, {"name": "a\nb"}, {"name": "x" * 201}, {"z": 1}):
        assert served.client.post(f"{url}/tags", json={"name": "x", "user": "a", **wrong}).status_code == 422, wrong
    assert served.client.post(f"{url}/hidden", json={"hidden": True, "user": "u1"}).status_code == 200
    assert served.client.get("/api/episodes").json()["total"] == 2


def test_the_last_trim_is_told(served):
    url = f"/api/episodes/{served.ids[0]}"
    assert served.client.get(url).json()["trim"] is None
    served.store.trim(served.ids[0], 1, 3)
    served.store.trim(served.ids[0], 1, 2)
    assert served.client.get(url).json()["trim"] == [1, 2]
    served.store.trim(served.ids[0], None, None)
    assert served.client.get(url).json()["trim"] is None


def test_session(served):
    served.client.post(f"/api/episodes/{served.ids[0]}/tags", json={"name": "x", "user": "u1"})
    told = served.client.get("/api/session").json()
    assert told["users"] == ["u1"] and told["success_threshold"] == 0.85 and told["tasks"] == ["lift"] and told["token_needed"] is False
    assert "/" not in told["data_folder"]
