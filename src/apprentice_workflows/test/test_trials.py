"""A blind evaluation on the simulated cell: every policy from its start, recorded, judged, resumable."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_store.evaluations import Evaluations, plan_trials
from apprentice_store.store import Store
from apprentice_workflows import trials as module
from apprentice_workflows.cells import CellChoice, open_cell
from apprentice_workflows.trials import driver_of, run_trials, start_of

STARTS = [("normal", "normal/n0"), ("random", "random/7")]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    with Store(tmp_path / "bags") as store:
        yield store, Evaluations(store.catalogue)


def opener(store: Store):
    choice = CellChoice(True, "lift", data=store.folder, cameras="none")
    return lambda bundle: open_cell(choice, bundle)


def test_trials_run_in_their_order_and_go_on_after_an_interruption(book):
    store, evaluations = book
    made = evaluations.create("lift", ["expert", "random_watcher"], STARTS, True, 3, "u1")
    first = run_trials(evaluations, made.evaluation_id, opener(store), steps=4)
    trial, ref = next(first)
    first.close()
    assert trial == made.trials[0] and store.catalogue.get(ref.episode_id).source == trial.policy
    rest = list(run_trials(evaluations, made.evaluation_id, opener(store), steps=4))
    assert [t.number for t, _ in rest] == [1, 2, 3] and evaluations.get(made.evaluation_id).open == []
    for number, result in evaluations.get(made.evaluation_id).results.items():
        row, one = store.catalogue.get(result.episode_id), made.trials[number]
        assert row.source == one.policy and result.success is False and "evaluate" in store.catalogue.tags_of(row.episode_id)
        assert row.initial_state == "normal/n0" if one.condition == "normal" else row.seed == 7


def test_the_operator_is_waited_for(book, monkeypatch):
    store, evaluations = book
    monkeypatch.setattr(module, "POLL", 0.02)
    made = evaluations.create("lift", ["random_watcher"], STARTS, False, 3, "u1")
    asked = threading.Event()

    def operator() -> None:
        for number in range(2):
            asked.wait(60)
            asked.clear()
            time.sleep(0.05)
            result = evaluations.get(made.evaluation_id).results[number]
            assert result.success is None
            evaluations.judge(made.evaluation_id, number, number == 0, "u1", "", result.episode_id)

    person = threading.Thread(target=operator, daemon=True)
    person.start()
    placed: list[str] = []
    ran = list(run_trials(evaluations, made.evaluation_id, opener(store), 2, True, lambda _: asked.set(), lambda t: placed.append(t.start)))
    assert placed == ["normal/n0", "random/7"]
    person.join(60)
    assert len(ran) == 2 and [evaluations.get(made.evaluation_id).results[i].success for i in (0, 1)] == [True, False]
    assert store.catalogue.get(ran[0][1].episode_id).success is True


def test_policies_are_bundles_or_sources(tmp_path):
    (tmp_path / "bundle.json").write_text("{}")
    assert driver_of(str(tmp_path)) == ("policy", tmp_path) and driver_of("expert") == ("expert", None)
    with pytest.raises(ApprenticeError, match="no bundle"):
        driver_of("runs/nosuch/bundle")
    one, other = plan_trials(["x"], STARTS, False, 0)
    assert start_of(one, by_hand=True).mode == "robot" and start_of(one).mode == "full"
    assert start_of(one).initial_state == "normal/n0" and start_of(other).seed == 7 and not start_of(other).initial_state
