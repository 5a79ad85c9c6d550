"""The wheel's steps on the simulated cell and a real Studio, with a few short episodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from apprentice_core.errors import ApprenticeError
from apprentice_core.paths import config_path
from apprentice_store.catalogue import SKETCH
from apprentice_workflows.wheel.annotator import SUCCESS_BAND, progress
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.evaluation import Comparison
from apprentice_workflows.wheel.report import write_report
from apprentice_workflows.wheel.run import run_step, run_wheel
from apprentice_workflows.wheel.sketching import SketchesMissing
from apprentice_workflows.wheel.studio_client import StudioClient, local_studio


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    fields = yaml.safe_load(config_path("wheels", "lift_green").read_text())
    fields["presets"] = {"test": fields["presets"]["tiny"] | {
        "episode_steps": 30, "demonstrations": 2, "failing": 0.5, "random_watcher": 1, "other_tasks": {"stack_green_on_red": 1},
        "first_sketches": {"demos": 2, "other_tasks": 1, "random_watcher": 1},
    }}
    path = tmp_path_factory.mktemp("wheel") / "lift_green.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


@pytest.fixture(scope="module")
def turned(wheel_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelContext]:
    """Steps A to C of turn 1, A interrupted after its first episode and taken up by a second process's context."""
    out = tmp_path_factory.mktemp("run")
    first = WheelContext.open(wheel_file, "test", out)
    told = []

    def interrupting(episode: object, *_: object) -> None:
        told.append(episode)
        if len(told) == 1:
            raise KeyboardInterrupt

    original = first.rig.verify
    first.rig.verify = lambda ref, name: (original(ref, name), interrupting(ref))  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        run_wheel(first, 1)
    first.close()
    assert not first.state.done(1, "A")
    context = WheelContext.open(wheel_file, "test", out)
    for step in "ABC":
        assert run_step(context, 1, step)
    yield context
    context.close()


def test_an_interrupted_collection_runs_each_start_once(turned: WheelContext) -> None:
    demos = turned.store.episodes("tag = 'demo'")
    assert sorted(r.seed or 0 for r in demos) == [1, 2] and {r.task for r in demos} == {"lift_green"}
    assert [r.task for r in turned.store.episodes("tag = 'random_watcher'")] == ["random_watcher"]
    assert [r.task for r in turned.store.episodes("tag = 'other_task'")] == ["stack_green_on_red"]
    assert turned.state.outputs(1, "B")["episodes"] == 4 and turned.state.outputs(1, "B")["on_task_episodes"] == 2
    failed = turned.state.outputs(1, "A")["failed"]
    assert failed and set(failed) == {r.episode_id for r in demos if r.success is False}, "failed demonstrations are labelled"
    assert set(failed) <= set(turned.store.manifest(turned.config.datasets.all, save=False).ids), "and kept in what is learned from"
    # Nothing is left to do, and nothing is run.
    assert not run_step(turned, 1, "A") and not run_step(turned, 1, "B") and len(turned.store.episodes()) == 4


def test_sketches_came_through_studio_and_tell_the_truth_about_success(turned: WheelContext) -> None:
    out = turned.state.outputs(1, "C")
    assert out["counts"] == {"demos": 2, "other_tasks": 1, "random_watcher": 1} and len(set(out["sequences"])) == 4
    for episode_id in out["episodes"]:
        ((task, kind, user, values),) = turned.store.catalogue.reward_sequences(episode_id)
        episode = turned.store.read(episode_id, ("tool/pose",))
        from apprentice_core.tasks import make_task

        _, success = progress(make_task(turned.config.task_config()), episode)
        assert (task, kind, user) == ("lift_green", SKETCH, "scripted")
        np.testing.assert_array_equal(values >= SUCCESS_BAND, success)


def test_studio_refuses_what_is_no_curve(turned: WheelContext) -> None:
    episode_id = turned.state.outputs(1, "C")["episodes"][0]
    frames = turned.store.catalogue.get(episode_id).steps + 1  # type: ignore[union-attr]
    with local_studio(turned.store) as url, StudioClient(url, "user_1") as studio:
        for values, said in ((np.zeros(frames - 1), "422"), (np.full(frames, 1.5), "422")):
            with pytest.raises(ApprenticeError, match=said):
                studio.save(episode_id, "lift_green", values)
        with pytest.raises(ApprenticeError, match="404"):
            studio.save("01J00000000000000000000000", "lift_green", np.zeros(3))
        saved = studio.save(episode_id, "lift_green", np.zeros(frames))
        with pytest.raises(ApprenticeError, match="409"):
            studio.save(episode_id, "lift_green", np.full(frames, 0.5))
        assert studio.own_sketch(episode_id, "lift_green") == saved
        assert studio.save(episode_id, "lift_green", np.full(frames, 0.5), base=saved.revision).revision > saved.revision


def test_a_person_is_waited_for(turned: WheelContext, wheel_file: str, tmp_path: Path) -> None:
    turned.user = "user_2"
    try:
        with pytest.raises(SketchesMissing, match="4 of 4 episodes are still to be sketched for lift_green by user_2"):
            run_step(turned, 1, "C")
        waiting = turned.store.episodes("tag = 'sketch/lift_green'")
        assert len(waiting) == 4
        with local_studio(turned.store) as url, StudioClient(url, "user_2") as studio:
            for row in waiting:
                studio.save(row.episode_id, "lift_green", np.linspace(0, 0.5, row.steps + 1))
        assert run_step(turned, 1, "C") and turned.state.outputs(1, "C")["user"] == "user_2"
    finally:
        turned.user = "scripted"
    with StudioClient("http://127.0.0.1:9", "user_2") as nobody, pytest.raises(ApprenticeError, match=r"127.0.0.1:9 does not answer"):
        nobody.queue("lift_green", "demos", 3)


def test_policies_are_compared_in_shuffled_order_and_once(turned: WheelContext, tmp_path: Path) -> None:
    from apprentice_core.cell import ResetRequest
    from apprentice_core.spaces import ArraySpec, cartesian_velocity_gripper
    from apprentice_learning.bundles import write_policy
    from apprentice_learning.networks.observation import NetworkConfig
    from apprentice_learning.networks.policies import PolicyNetwork

    space, policies = cartesian_velocity_gripper(), {}
    for name, width in (("good", 8), ("better", 9)):
        network = PolicyNetwork((ArraySpec("tool/pose", (7,)),), space.size, NetworkConfig(proprio=("tool/pose",), hidden=(width,)))
        write_policy(tmp_path / name, network, name=name, algorithm="none", action_space=space.name, action_space_hash=space.hash)
        policies[name] = tmp_path / name
    starts = {s: [ResetRequest(initial_state=s, seed=k) for k in range(20)] for s in ("normal", "hard")}
    held = Comparison(turned.store, turned.rig, turned.config.task_config(), policies, starts, "compared")
    order = [name for name, _ in held.trials(3)]
    assert order.count("good") == order.count("better") == 40 and order != sorted(order) and held.trials(3) == held.trials(3)
    assert {held.letters(s)["good"] for s in range(20)} == {"policy A", "policy B"}

    before = turned.store.manifest(turned.config.datasets.all, save=False)
    held.starts = {"unseen": [ResetRequest(initial_state="unseen", seed=5)]}
    held.run(3, {"turn": 1}, blind=True)
    rows = turned.store.episodes("tag = 'compared'")
    assert {r.bundle_id for r in rows} == set(held.ids.values()) and [(r.initial_state, r.seed) for r in rows] == [("unseen", 5)] * 2
    assert [len(held.tally(n, "unseen").refs) for n in policies] == [1, 1] and held.trials() == []
    held.run(3, {"turn": 1})
    assert len(turned.store.episodes("tag = 'compared'")) == 2, "nothing was left to run"
    # Somebody says otherwise later: the judgement counts.
    turned.store.catalogue.annotate(rows[0].episode_id, "success", "", True, "user_2")
    assert sum(held.tally(n, "unseen").successes for n in policies) == 1
    assert turned.store.manifest(turned.config.datasets.all, save=False).ids == before.ids, "evaluation is not trained on"


def test_the_report_sets_turns_beside_each_other(turned: WheelContext) -> None:
    before = dict(turned.state.steps)
    first = turned.state.outputs(1, "B")
    try:
        turned.state.run(2, "B", {}, lambda: first | {"steps": 4 * first["steps"], "episodes": 9})
        for turn, accuracy in ((1, 0.8), (2, 0.9)):
            turned.state.run(turn, "D", {}, lambda turn=turn, accuracy=accuracy: {
                "bundle": "m", "id": f"model{turn}", "metrics": {"validation/pair_accuracy": accuracy}, "sketches": 4 * turn, "episodes": 4,
                "sketch_ids": [f"s{k}" for k in range(4 * turn)], "revision": turn,
            })
        write_report(turned)
    finally:
        turned.state.steps = before
    turns = json.loads((turned.out / "report.json").read_text())["turns"]
    assert [t["turn"] for t in turns] == [1, 2] and [t["data"]["fraction"] for t in turns] == [0.25, 1.0]
    assert [t["reward"]["metrics"]["validation/pair_accuracy"] for t in turns] == [0.8, 0.9]
    assert [len(t["reward"]["sketch_ids"]) for t in turns] == [4, 8] and turns[1]["evaluation"] is None
    page = (turned.out / "report.html").read_text()
    assert ">0.800<" in page and ">0.900<" in page


def test_a_step_needs_those_before_it(turned: WheelContext) -> None:
    with pytest.raises(ApprenticeError, match=r"step D \(reward model\) of turn 1 has not been done yet"):
        run_wheel(turned, 1, only="E")
    with pytest.raises(ApprenticeError, match="no step 'Q'; known: A"):
        run_wheel(turned, 1, only="Q")
    assert (turned.out / "report.html").is_file() and "Turn by turn" in (turned.out / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_wheel_goes_on(wheel_file: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apprentice_workflows", "wheel", wheel_file, "-p", "test", "-o", str(tmp_path), "--only", "A"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("episodes/*.open")) and not list(tmp_path.glob("episodes/0*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False).returncode == 0
    context = WheelContext.open(wheel_file, "test", tmp_path)
    whole = context.store.episodes("tag = 'demo' and reason != 'torn'")
    assert sorted(r.seed or 0 for r in whole) == [1, 2] and context.state.done(1, "A")
    # What was cut off before it held an observation stays as it lay; nothing else is wrong, and the wheel goes on.
    assert {f.code for f in context.store.check(hashes=True).findings} <= {"torn"}
    assert run_step(context, 1, "B")
    context.close()
