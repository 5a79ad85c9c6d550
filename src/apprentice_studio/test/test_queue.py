"""Which episodes are offered to sketch, and named filters."""

from __future__ import annotations

from apprentice_store.testing import make_episode


def queue(served, mode, user="ann", **more):
    answer = served.client.get("/api/queue", params={"task": "lift", "user": user, "mode": mode, **more})
    return [e["episode_id"] for e in answer.json()["episodes"]]


def test_modes(served):
    demo, agent, watcher = served.ids
    served.store.tag(demo, "demo")
    other = make_episode(served.store, seed=7, task="stack", source="expert").episode_id
    taught = make_episode(served.store, seed=8, source="teleop").episode_id
    row = served.store.catalogue.get(agent)
    from dataclasses import replace

    served.store.catalogue.replace(replace(row, bundle_id="b" * 64))
    assert set(queue(served, "demos")) == {demo, taught}
    assert queue(served, "agent") == [agent]
    assert queue(served, "random_watcher") == [watcher]
    assert queue(served, "other_tasks") == [other]
    assert queue(served, "delusions") == []
    served.store.tag(agent, "delusion_candidate")
    assert queue(served, "delusions") == [agent]
    assert set(queue(served, "query", query="success = false")) == {agent, watcher}
    assert served.client.get("/api/queue", params={"task": "lift", "user": "ann", "mode": "query"}).status_code == 400
    assert served.client.get("/api/queue", params={"task": "lift", "user": "ann", "mode": "best"}).status_code == 422


def test_what_a_user_sketched_leaves_his_queue_only(served):
    served.store.tag(served.ids[0], "demo")
    body = {"task": "lift", "user": "ann", "values": [0.5] * 6, "base": 0}
    served.client.put(f"/api/episodes/{served.ids[0]}/sketch", json=body)
    assert queue(served, "demos") == [] and queue(served, "demos", user="bob") == [served.ids[0]]


def test_the_order_is_drawn_once_for_each_user(served):
    for i in range(8):
        make_episode(served.store, steps=2, seed=10 + i, source="teleop")
    drawn = queue(served, "demos")
    assert drawn == queue(served, "demos") and drawn != sorted(drawn) and set(drawn) == set(queue(served, "demos", user="bob"))
    assert queue(served, "demos", user="bob") != drawn
    assert queue(served, "demos", limit=3) == drawn[:3]


def test_hidden_episodes_are_not_offered(served):
    served.store.hide(served.ids[2])
    assert queue(served, "random_watcher") == []


def test_named_queries(served):
    client = served.client
    assert client.put("/api/queries/good ones", json={"where": "success = true"}).json()["queries"] == {"good ones": "success = true"}
    client.put("/api/queries/good ones", json={"where": "success = true and steps > 3"})
    assert client.get("/api/queries").json()["queries"] == {"good ones": "success = true and steps > 3"}
    assert client.put("/api/queries/bad", json={"where": "select 1"}).status_code == 400
    assert client.delete("/api/queries/good ones").json()["queries"] == {}
    assert client.delete("/api/queries/good ones").status_code == 404
