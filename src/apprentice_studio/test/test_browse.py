"""Lists, details, frames and thumbnails of real bags."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from apprentice_core.images import decode_png
from apprentice_store.frames import EpisodeFrames
from apprentice_store.testing import make_episode
from apprentice_studio import bags


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


def test_thumbnail_is_made_once(served, monkeypatch):
    url = f"/api/episodes/{served.ids[0]}/thumbnail.png"
    first = served.client.get(url)
    assert decode_png(first.content).shape == (16, 24, 3)
    monkeypatch.setattr(bags, "EpisodeReader", lambda path: pytest.fail("read the bag again"))
    monkeypatch.setattr(served.client.app.state.studio, "bags", bags.BagCache(served.store))
    assert served.client.get(url).content == first.content


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
    assert served.client.post(f"{url}/tags", json={"name": " good ", "present": True, "user": "ann"}).json()["tags"] == ["good", "made"]
    assert served.client.post(f"{url}/tags", json={"name": "made", "present": False, "user": "ann"}).json()["tags"] == ["good"]
    for wrong in ({"name": ""}, {"user": ""}, {"name": "a\nb"}, {"name": "x" * 201}, {"z": 1}):
        assert served.client.post(f"{url}/tags", json={"name": "x", "user": "a", **wrong}).status_code == 422, wrong
    assert served.client.post(f"{url}/hidden", json={"hidden": True, "user": "ann"}).status_code == 200
    assert served.client.get("/api/episodes").json()["total"] == 2


def test_session(served):
    served.client.post(f"/api/episodes/{served.ids[0]}/tags", json={"name": "x", "user": "ann"})
    told = served.client.get("/api/session").json()
    assert told["users"] == ["ann"] and told["success_threshold"] == 0.85 and told["tasks"] == ["lift"] and told["token_needed"] is False
    assert "/" not in told["data_folder"]
