"""What else a merge brings: predicted rewards, evaluations, saved queries; ours stays where the two differ, and it is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apprentice_store.evaluations import Evaluations
from apprentice_store.predictions import Predictions
from apprentice_store.saved_queries import save_query, saved_queries
from apprentice_store.sketch_book import SketchBook
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

STARTS = [("normal", "normal/a"), ("normal", "normal/b")]


@pytest.fixture
def other(tmp_path: Path, store):
    with Store(tmp_path / "other") as made:
        yield made


def predict(store: Store, episode_id: str, value: float, model: str = "m1") -> None:
    row = store.catalogue.get(episode_id)
    Predictions(store).add(row, "lift", model, np.full((row.steps + 1, 2), value, np.float32))


def mean(store: Store, episode_id: str, model: str = "m1") -> float:
    return float(Predictions(store).read(Predictions(store).of("lift", model)[episode_id]).mean())


def test_predictions_come_with_their_files_once(store, other) -> None:
    one, two = (make_episode(other, seed=i).episode_id for i in range(2))
    predict(other, one, 0.25)
    predict(other, one, 0.5)
    predict(other, one, 0.75, "m2")
    predict(other, two, 0.125)
    report = store.merge(other.folder)
    assert report.ok and report.predictions == 3 and report.left_out == []
    assert (mean(store, one), mean(store, one, "m2"), mean(store, two)) == (0.5, 0.75, 0.125)
    assert Predictions(store).missing(store.episodes(), "lift", "m1") == []
    again = store.merge(other.folder)
    assert again.predictions == again.annotations == 0 and again.left_out == []


def test_a_model_that_said_something_else_here_is_left_as_it_is(store, other) -> None:
    one, two = (make_episode(other, seed=i).episode_id for i in range(2))
    store.merge(other.folder)
    predict(store, one, 0.25)
    predict(store, two, 0.5)
    for episode in (one, two):
        predict(other, episode, 0.5)
    before = store.catalogue.revision
    report = store.merge(other.folder)
    assert [(f.code, f.name) for f in report.left_out] == [("prediction", f"lift/m1/{one}")] and report.ok
    assert report.predictions == 0 and store.catalogue.revision == before, "the same words about the same file are not said twice"
    assert mean(store, one) == 0.25 and mean(store, two) == 0.5


def test_a_prediction_whose_file_is_lost_or_changed_there_does_not_come(store, other) -> None:
    one, two = (make_episode(other, seed=i).episode_id for i in range(2))
    for episode in (one, two):
        predict(other, episode, 0.5)
    lost, changed = (other.folder / f"predicted/lift/m1/{i}.npy" for i in (one, two))
    lost.unlink()
    changed.write_bytes(changed.read_bytes()[:-4] + b"\x00\x00\x00\x3e")
    report = store.merge(other.folder)
    assert {f.name for f in report.left_out} == {f"lift/m1/{one}", f"lift/m1/{two}"} and report.predictions == 0
    assert Predictions(store).of("lift", "m1") == {} and not list(store.folder.glob("predicted/**/*.npy"))
    predict(other, one, 0.5)
    assert store.merge(other.folder).predictions == 1 and mean(store, one) == 0.5


def test_sketches_come_and_stay_apart_by_user(store, other) -> None:
    one = make_episode(other).episode_id
    store.merge(other.folder)
    for folder, user in ((other, "u1"), (store, "u2")):
        folder.catalogue.add_reward_sequence(one, "lift", np.linspace(0, 1, 6), user)
    store.merge(other.folder)
    assert {x.user for x in SketchBook(store.catalogue).curves(one, "lift")} == {"u1", "u2"}


def test_evaluations_come_with_their_results(store, other) -> None:
    episode = make_episode(other).episode_id
    theirs = Evaluations(other.catalogue)
    made = theirs.create("lift", ["p", "q"], STARTS, True, 3, "u1")
    theirs.judge(made.evaluation_id, 0, None, "u1", "dropped")
    theirs.judge(made.evaluation_id, 0, True, "u1", episode_id=episode)
    report = store.merge(other.folder)
    assert (report.evaluations, report.results) == (1, 2)
    mine = Evaluations(store.catalogue).get(made.evaluation_id)
    assert mine == theirs.get(made.evaluation_id) and mine.hidden and mine.results[0].success is True
    theirs.reveal(made.evaluation_id)
    theirs.judge(made.evaluation_id, 1, False, "u2")
    again = store.merge(other.folder)
    assert (again.evaluations, again.results, again.left_out) == (0, 1, [])
    assert Evaluations(store.catalogue).get(made.evaluation_id).hidden, "who works blind here is not told by a merge"


def test_an_older_result_does_not_replace_a_newer_one(store, other) -> None:
    theirs, mine = Evaluations(other.catalogue), Evaluations(store.catalogue)
    key = theirs.create("lift", ["p", "q"], STARTS, False, 3, "u1").evaluation_id
    store.merge(other.folder)
    theirs.judge(key, 0, False, "u1")
    mine.judge(key, 0, True, "u2")
    theirs.judge(key, 1, False, "u1")
    report = store.merge(other.folder)
    assert report.results == 1 and [f.code for f in report.left_out] == ["result"]
    assert {k: r.success for k, r in mine.get(key).results.items()} == {0: True, 1: False}


def test_another_plan_of_the_same_id_is_told(store, other) -> None:
    from sqlalchemy import update

    from apprentice_store import schema as s

    theirs = Evaluations(other.catalogue)
    key = theirs.create("lift", ["p"], STARTS, False, 3, "u1").evaluation_id
    store.merge(other.folder)
    with other.catalogue.transaction(writes=True) as c:
        c.execute(update(s.evaluations).values(task="reach"))
    theirs.judge(key, 0, True, "u1")
    report = store.merge(other.folder)
    assert [(f.code, f.name) for f in report.left_out] == [("evaluation", key)] and report.results == 0
    assert Evaluations(store.catalogue).get(key).task == "lift"


def test_saved_queries_come_and_a_name_keeps_what_it_stands_for(store, other) -> None:
    for name, where in (("good", "tag = 'good'"), ("mine", "steps > 3"), ("same", "success = true")):
        save_query(other.catalogue, name, where)
    save_query(store.catalogue, "mine", "steps > 9")
    save_query(store.catalogue, "same", "success = true")
    report = store.merge(other.folder)
    assert report.queries == 1 and [(f.code, f.name) for f in report.left_out] == [("query", "mine")] and report.ok
    assert saved_queries(store.catalogue) == {"good": "tag = 'good'", "mine": "steps > 9", "same": "success = true"}
    assert report.as_dict()["left_out"][0]["name"] == "mine"
