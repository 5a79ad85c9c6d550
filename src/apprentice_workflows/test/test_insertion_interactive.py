"""Interactive insertion (spec 000 section 2.14): every part at work in a tiny run, over a real Studio and a real store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from apprentice_core.bundle import read_manifest
from apprentice_core.cell import SourceAction
from apprentice_core.errors import ApprenticeError
from apprentice_core.rotations import quaternion_to_matrix, rotation_vector
from apprentice_learning.bundles import read_policy
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.rewards.models import list_models
from apprentice_store.sketches import sketches
from apprentice_store.store import Store
from apprentice_workflows.cli.app import app
from apprentice_workflows.insertion.interactive import alternate
from apprentice_workflows.insertion.interactive.curve import read_curve
from apprentice_workflows.insertion.interactive.learner import bundles_folder, make_trainer, take_newest_reward
from apprentice_workflows.insertion.interactive.reward_learner import RewardLearner, load_model, newest_model
from apprentice_workflows.insertion.interactive.rig import DEMOS, OWN, calibrated_goal, draw_start, open_cell, request, seed_of
from apprentice_workflows.insertion.interactive.run import run_interactive
from apprentice_workflows.insertion.interactive.run_folder import RunFolder
from apprentice_workflows.insertion.interactive.settings import PRESETS, TASK, settings


def quiet(what: str, done: int, total: int, note: str) -> None:
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A whole tiny run, its parts in turn."""
    folder = RunFolder.begin(tmp_path_factory.mktemp("interactive") / "run", "tiny", 0, settings("tiny"))
    run_interactive(folder, quiet, in_turn=True)
    return folder


def test_starts_fill_the_cube_and_the_turns_and_follow_the_seed() -> None:
    goal = calibrated_goal()
    starts = [draw_start(seed, goal) for seed in range(400)]
    tool = np.array([s["tool"] for s in starts]) - goal - [0, 0, 0.05]
    turn = np.array([s["turn"] for s in starts])
    for drawn, side in ((tool, 0.03), (turn, 0.15)):
        assert (np.abs(drawn) <= side).all() and (np.abs(drawn).max(0) > 0.95 * side).all() and (np.abs(drawn.mean(0)) < 0.15 * side).all()
    assert draw_start(7, goal) == starts[7] != starts[8]
    kinds = [seed_of(run, kind, n) for run in (0, 1) for kind in (100_000, 200_000) for n in (0, 99_999)]
    assert len(set(kinds)) == len(kinds) and seed_of(0, 0, 3) == seed_of(5, 0, 3) == 3


def test_the_papers_numbers_are_the_defaults() -> None:
    s = PRESETS["paper"]
    assert s.demonstrations == 100 and s.horizon == 0 and s.hidden == 256
    assert s.prior_batch / (s.batch + s.prior_batch) == 0.25
    online, reward = s.online(0), s.reward(0, True)
    assert online.network.cameras == ("camera/wrist",) and online.network.proprio == () and online.network.encoder == "conv3"
    assert reward.network().cameras == ("camera/wrist",) and reward.network().encoder == "conv3" and online.network.image_reduction == 1


def test_the_whole_loop_ran_and_said_so(run: RunFolder) -> None:
    result = json.loads((run.out / "result.json").read_text())
    assert (result["demonstrations"], result["episodes"], result["evaluation"]["trials"]) == (2, 2, 1)
    assert (run.out / "plot.png").stat().st_size > 5000
    rows = result["rows"]
    assert [r["sketches"] for r in rows] == [2, 3] and result["sketches"] == 4 and rows[0]["hours"] < rows[1]["hours"] == result["hours"]
    with Store(run.data) as store:
        assert all(r.bundle_id for r in store.episodes(OWN)) and not any(r.bundle_id for r in store.episodes(DEMOS))
        assert {x.user for x in sketches(store.catalogue, TASK).sketches} == {"scripted"}
        models = list_models(run.data, TASK)
        learned = [len(read_manifest(m).lineage["sketches"]) for m in models]
        assert learned == [2, 3] and result["reward_models"] == 2
        policy = read_manifest(checkpoints(bundles_folder(run.out))[-1])
        assert policy.lineage["reward_model"] in {m.name for m in models}
        episode = store.read(store.episodes(OWN)[0].episode_id)
        assert episode.actions["executed"].shape == (6, 6) and set(episode.observations) >= {"camera/wrist", "tool/pose"}
        assert episode.observations["camera/wrist"].shape == (7, 84, 84, 3) and "boundary/reached" in episode.rewards
        assert episode.meta["action_space"] == "tool_velocity" and "goal" not in episode.meta["metadata"]


def test_no_replayed_reward_is_an_older_models(run: RunFolder) -> None:
    with Store(run.data) as store:
        cell = open_cell(store, 0)
        try:
            trainer = make_trainer(store, run.out, cell.spec, run.settings, 0)
        finally:
            cell.close()
        newest = newest_model(run.data)
        assert newest is not None
        take_newest_reward(trainer, store)
        assert trainer.replay.model_id == newest.name and not take_newest_reward(trainer, store)
        model = load_model(run.data)
        assert len(trainer.replay) == sum(r.steps for r in store.episodes(f"({OWN}) or ({DEMOS})"))
        for buffer in (trainer.replay, trainer.prior):
            rows = buffer.starts
            said = model.predict({"camera/wrist": buffer.columns["camera/wrist"][rows]})[:, 0]
            np.testing.assert_allclose(buffer.columns["reward"][rows], said, atol=1e-5)


def test_a_finished_run_goes_on_when_it_is_made_longer_and_refuses_other_settings(run: RunFolder, monkeypatch) -> None:
    trained = []
    monkeypatch.setattr(alternate, "make_trainer", lambda *a: trained.append(a))
    before = (run.out / "result.json").read_text()
    again = run_interactive(RunFolder.begin(run.out, "tiny", 0, run.settings), quiet, in_turn=True)
    assert not trained and again["rows"] == json.loads(before)["rows"]
    with pytest.raises(ApprenticeError, match="another run"):
        RunFolder.begin(run.out, "tiny", 0, run.settings.model_copy(update={"batch": 5}))
    with pytest.raises(ApprenticeError, match="take turns"):
        run_interactive(run, quiet, in_turn=True, annotator="user_1")
    with run.held(), pytest.raises(ApprenticeError, match="at work"):
        run_interactive(run, quiet, in_turn=True)
    (run.out.parent / "other").mkdir(exist_ok=True)
    (run.out.parent / "other" / "run.json").write_text("{")
    with pytest.raises(ApprenticeError, match="no run of interactive insertion"):
        RunFolder.load(run.out.parent / "other")


def test_the_reward_learner_waits_for_enough_sketches(run: RunFolder) -> None:
    with Store(run.data) as store:
        assert RewardLearner(store, run.out, run.settings, 0).due, "one sketch came after the last model"
        few = RewardLearner(store, run.out, run.settings.model_copy(update={"refit_sketches": 2}), 0)
        assert not few.due


class _Aside:
    """Drives sideways for ever."""

    name, bundle_id, needs_privileged = "aside", "", False

    def reset(self, context):
        pass

    def act(self, observation, segment, privileged=None):
        rotation = quaternion_to_matrix(observation["tool/pose"][3:].astype(np.float64))
        return SourceAction(np.append(rotation.T @ [0.0, 1.0, 0.0], np.zeros(3)).astype(np.float32))

    def observe(self, observation, executed):
        pass


def test_the_boundary_ends_an_episode_with_discount_0_and_starts_are_as_drawn(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        cell = open_cell(store, 0, {"aside": _Aside()})
        try:
            asked = request(settings("paper"), 11, "aside", "train")
            home = cell.loop.chain.home_pose.rotation
            ref = cell.run(asked)
        finally:
            cell.close()
        assert ref.terminated and not ref.truncated and not ref.success and ref.steps < 30
        episode = store.read(ref.episode_id)
        assert episode.discount[-1] == 0.0 and (episode.discount[:-1] == 1.0).all() and episode.rewards["boundary/reached"][-1] == 1.0
        tool = episode.observations["tool/pose"][0].astype(np.float64)
        start = asked.metadata["start"]
        assert np.allclose(tool[:3], start["tool"], atol=5e-4)
        assert np.allclose(rotation_vector(quaternion_to_matrix(tool[3:]) @ home.T), start["turn"], atol=5e-3)


def test_the_command_names_its_presets_and_examples() -> None:
    shown = CliRunner().invoke(app, ["insertion-interactive", "--help"])
    assert shown.exit_code == 0 and "--in-turn" in shown.output and "apprentice insertion-interactive --annotator user_1" in shown.output
    wrong = CliRunner().invoke(app, ["insertion-interactive", "-p", "huge"])
    assert isinstance(wrong.exception, ApprenticeError) and "paper, small, tiny" in str(wrong.exception)


@pytest.mark.slow
def test_equal_seeds_give_equal_policies(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder.begin(tmp_path / "b", "tiny", 0, settings("tiny"))
    run_interactive(other, quiet, in_turn=True)
    (_, first, _), (_, second, _) = (read_policy(checkpoints(bundles_folder(r.out))[-1]) for r in (run, other))
    for name, value in first.state_dict().items():
        assert (value == second.state_dict()[name]).all(), name


@pytest.mark.slow
def test_the_parts_as_processes_beside_each_other(tmp_path: Path) -> None:
    folder = RunFolder.begin(tmp_path / "run", "tiny", 0, settings("tiny"))
    lines: list[str] = []
    result = run_interactive(folder, quiet, say=lines.append)
    assert "http://127.0.0.1:" in lines[0] and result["episodes"] >= 2 and result["sketches"] >= 2 and result["reward_models"] >= 1
    with Store(folder.data) as store:
        assert read_curve(store, 2)["episodes"] == len(store.episodes(OWN))
        assert all(r.bundle_id and r.task == TASK for r in store.episodes(OWN))
