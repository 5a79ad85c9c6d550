"""Judgements, evaluations, statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apprentice_core.statistics import wilson
from apprentice_store.evaluations import plan_trials
from apprentice_studio.report import markdown

POLICIES = ["b-one", "b-two", "b-three"]


def test_a_judgement_is_an_annotation(served):
    url = f"/api/episodes/{served.ids[1]}/judgement"
    reward = {"value": 0.5, "first": 1, "last": 4}
    told = served.client.post(url, json={"success": True, "reward": reward, "note": "slipped, then held", "user": "u1"}).json()
    assert told["success"] is True and served.store.catalogue.get(served.ids[1]).success is True
    said = {a["kind"]: (a["value"], a["author"]) for a in told["annotations"] if a["author"] == "u1"}
    assert said == {"success": (True, "u1"), "reward": (reward, "u1"), "note": ("slipped, then held", "u1")}
    assert served.store.read(served.ids[1]).meta["success"] is False
    assert served.client.post(url, json={"success": None, "clear_success": True, "user": "u2"}).json()["success"] is None


def test_an_overridden_reward_goes_into_manifests_and_can_be_taken_back(served):
    url = f"/api/episodes/{served.ids[1]}/judgement"
    for value in (0.5, None):
        reward = {"value": value, "first": 1, "last": 3}
        assert served.client.post(url, json={"reward": reward, "user": "u1"}).status_code == 200
    [task] = {r.task for r in served.store.episodes()}
    assert served.store.manifest().rewards == ((served.ids[1], task, 1, 3, 0.5), (served.ids[1], task, 1, 3, None))


@pytest.mark.parametrize("wrong", [
    {}, {"success": "maybe"}, {"success": True, "clear_success": True}, {"note": "  "}, {"note": "x" * 4001},
    {"reward": {"value": 1e7, "first": 0, "last": 1}}, {"reward": {"value": 1, "first": 2, "last": 1}},
    {"reward": {"value": 1, "first": 0, "last": 5}}, {"reward": {"first": 0, "last": 1}},
])
def test_wrong_judgements_say_nothing(served, wrong):
    before = served.store.catalogue.revision
    assert served.client.post(f"/api/episodes/{served.ids[0]}/judgement", json={**wrong, "user": "u1"}).status_code == 422
    assert served.store.catalogue.revision == before


def make(served, **more):
    body = {"task": "lift", "sets": ["normal"], "policies": POLICIES, "user": "u1", **more}
    return served.client.post("/api/evaluations", json=body)


def test_sets_of_the_task_have_ten_starts_each(served):
    told = served.client.get("/api/evaluation_sets", params={"task": "lift"}).json()
    assert {n: len(s) for n, s in told["sets"].items()} == {"normal": 10, "hard": 10, "unseen": 10}
    assert len(told["sets"]["hard"]["h0"]["objects"]["green"]) == 4
    for wrong in ("../../../etc/passwd", "nosuch", "x.yaml"):
        assert served.client.get("/api/evaluation_sets", params={"task": wrong}).status_code in (404, 422)


def test_every_policy_starts_from_every_start(served):
    told = make(served, sets=["all"], seed=3).json()
    assert len(told["trials"]) == 3 * 30 and told["conditions"] == ["normal", "hard", "unseen"] and told["next"] == 0
    assert [t["policy"] for t in told["trials"][:3]] == POLICIES
    assert len({(t["policy"], t["start"]) for t in told["trials"]}) == 90
    random = make(served, sets=["random"], policies=["one"], seed=5).json()
    assert [t["start"] for t in random["trials"]] == [f"random/{5 + i}" for i in range(50)]
    assert len(make(served, sets=["hard"], episodes=12).json()["trials"]) == 36


def test_blind_evaluation_hides_policies_until_it_is_revealed(served):
    told = make(served, blind=True, policies=["one", "two"]).json()
    url = f"/api/evaluations/{told['evaluation_id']}"
    assert {t["label"] for t in told["trials"]} == {"A", "B"} and all(t["policy"] is None for t in told["trials"]) and told["seed"] is None
    assert served.client.post(f"{url}/reveal", json={"user": "u1"}).status_code == 409
    for t in told["trials"]:
        told = served.client.post(f"{url}/trials/{t['number']}", json={"success": t["label"] == "A", "user": "u1"}).json()
        assert all(x["policy"] is None for x in told["trials"])
    assert told["open"] == 0 and told["next"] is None
    hidden = served.client.get(f"{url}/report").json()
    assert [r["policy"] for r in hidden["rows"]] == ["A", "B"] and hidden["rows"][0]["total"]["successes"] == 10
    shown = served.client.post(f"{url}/reveal", json={"user": "u1"}).json()
    named = {t["label"]: t["policy"] for t in shown["trials"]}
    rows = {r["policy"]: r["total"]["successes"] for r in served.client.get(f"{url}/report").json()["rows"]}
    assert rows == {named["A"]: 10, named["B"]: 0} and set(named.values()) == {"one", "two"}


def test_blind_order_is_shuffled_and_fair():
    starts = [("normal", f"normal/n{i}") for i in range(200)]
    trials = plan_trials(["one", "two"], starts, True, seed=1)
    first = [trials[i].policy for i in range(0, 400, 2)]
    assert 70 < first.count("one") < 130
    assert all({trials[i].policy, trials[i + 1].policy} == {"one", "two"} for i in range(0, 400, 2))
    assert {plan_trials(["one", "two"], starts, True, seed=s)[0].label for s in range(20)} == {"A", "B"}


def test_a_corrected_result_counts_once_and_both_stay(served):
    told = make(served, policies=["one"]).json()
    url = f"/api/evaluations/{told['evaluation_id']}"
    body = {"user": "u1", "episode_id": served.ids[1]}
    served.client.post(f"{url}/trials/0", json={"success": True, **body})
    served.client.post(f"{url}/trials/0", json={"success": False, "note": "it fell", **body})
    told = served.client.get(url).json()
    assert told["trials"][0]["result"]["success"] is False and told["open"] == 9
    assert served.store.catalogue.get(served.ids[1]).success is False
    cell = served.client.get(f"{url}/report").json()["rows"][0]["cells"]["normal"]
    assert (cell["successes"], cell["trials"], cell["low"], cell["high"]) == (0, 1, *wilson(0, 1))
    with served.store.catalogue.transaction() as c:
        from sqlalchemy import text

        stored = c.execute(text('select "PolicyId", "StartId", "Success" from "EvaluationResults"')).all()
    assert stored == [("one", "normal/n0", 1), ("one", "normal/n0", 0)]


def test_an_episode_of_a_blind_evaluation_does_not_tell_its_bundle(served):
    row = served.store.catalogue.get(served.ids[1])
    served.store.catalogue.replace(replace(row, bundle_id="b" * 64))
    told = make(served, blind=True, policies=["one", "two"]).json()
    url = f"/api/evaluations/{told['evaluation_id']}"
    served.client.post(f"{url}/trials/0", json={"success": True, "user": "u1", "episode_id": served.ids[1]})
    assert served.client.get(f"/api/episodes/{served.ids[1]}").json()["bundle_id"] is None
    served.client.post(f"{url}/reveal", json={"user": "u1", "early": True})
    assert served.client.get(f"/api/episodes/{served.ids[1]}").json()["bundle_id"] == "b" * 64


@pytest.mark.parametrize("wrong, status", [
    ({"sets": ["easy"]}, 422), ({"sets": []}, 422), ({"policies": []}, 422), ({"policies": ["a", "a"]}, 400), ({"task": "nosuch"}, 404),
    ({"task": "../lift"}, 422), ({"episodes": -1}, 422), ({"episodes": 9999}, 400), ({"seed": -1}, 422), ({"policies": [7]}, 422),
])
def test_wrong_evaluations(served, wrong, status):
    answer = make(served, **wrong)
    assert answer.status_code == status and answer.json()["error"]


def test_unknown_trials_and_episodes(served):
    url = f"/api/evaluations/{make(served, policies=['one']).json()['evaluation_id']}"
    assert served.client.post(f"{url}/trials/10", json={"success": True, "user": "a"}).status_code == 404
    assert served.client.post(f"{url}/trials/0", json={"success": True, "user": "a", "episode_id": "0" * 26}).status_code == 404
    assert served.client.post(f"{url}/trials/0", json={"success": True, "user": "a", "episode_id": "../x"}).status_code == 422
    assert served.client.get("/api/evaluations/01KB0000000000000000000000").status_code == 404
    assert len(served.client.get("/api/evaluations").json()["evaluations"]) == 1


def test_report_has_the_layout_of_the_paper(served):
    told = make(served, sets=["normal", "hard"], policies=["full method", "only lift data"]).json()
    url = f"/api/evaluations/{told['evaluation_id']}"
    for t in told["trials"]:
        won = t["policy"] == "full method" and not t["start"].endswith(("8", "9"))
        served.client.post(f"{url}/trials/{t['number']}", json={"success": won, "user": "u1"})
    told = served.client.get(f"{url}/report").json()
    assert told["markdown"].splitlines() == [
        "| lift | normal | hard |", "| --- | --- | --- |", "| full method | 80 % (8/10, 49-94) | 80 % (8/10, 49-94) |",
        "| only lift data | 0 % (0/10, 0-28) | 0 % (0/10, 0-28) |",
    ]
    assert "a\\|b" in markdown("lift", [], [{"policy": "a|b", "cells": {}}])


def test_overlay_comes_from_whoever_started_the_server(served):
    url = "/api/evaluation_sets/lift/normal/n3/overlay/basket_front_left.png"
    assert served.client.get(url).status_code == 404
    asked = []
    served.client.app.state.studio.overlay = lambda *what: asked.append(what) or b"png"
    assert served.client.get(url).content == b"png" and asked == [("lift", "normal", "n3", "basket_front_left")]
    for wrong in (url.replace("n3", "n99"), url.replace("basket_front_left", "nosuch"), url.replace("/lift/", "/..%2f/")):
        assert served.client.get(wrong).status_code in (404, 422)
    assert len(asked) == 1


def test_statistics(served):
    agent = served.store.catalogue.get(served.ids[1])
    served.store.catalogue.replace(replace(agent, bundle_id="b" * 64))
    served.store.catalogue.annotate(served.ids[1], "success", "", True, "u1")
    served.store.catalogue.add_reward_sequence(served.ids[1], "lift", np.float32([0, 0.2, 0.5, 0.9, 0.9, 1]), "u1")
    told = served.client.get("/api/stats").json()
    table = {r["name"]: r for r in told["table"]}
    assert table["total"]["episodes"] == 3 and table["total"]["steps"] == 15 and table["lift"]["episodes"] == 2
    assert table["total"]["hours"] == pytest.approx(3 * 0.5 / 3600) and table["random_watcher"]["episodes"] == 1
    assert told["sketches"] == [{"task": "lift", "user": "u1", "episodes": 1, "sketches": 1}]
    times = told["time_to_success"]
    assert times["script"]["n"] == 1 and times["script"]["median"] == pytest.approx(0.5)
    assert times["agent"]["median"] == pytest.approx(0.3), "the first frame in the green band"
    assert served.client.get("/api/stats", params={"query": "source = 'nobody'"}).json()["table"][-1]["episodes"] == 0
    assert served.client.get("/api/stats", params={"query": "nosuch = 1"}).status_code == 400
