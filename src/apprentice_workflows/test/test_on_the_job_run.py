"""Chapter 10 in small: collection, splits, baselines, cells; the real runs are long."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from job_runs import TINY, bags, killed, quiet
from typer.testing import CliRunner

from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardBatch
from apprentice_core.spaces import observation_digest
from apprentice_learning.online.journal import MemoryJournal
from apprentice_learning.representations.dataset import CAMERA, SUCCESS
from apprentice_learning.representations.frame_models import predict
from apprentice_learning.representations.on_the_job import Act, fine_tune, trial_of
from apprentice_learning.representations.registry import HeldOutError
from apprentice_learning.rewards.classifier_reward import ClassifierReward
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm
from apprentice_sim.connectors import family
from apprentice_store.store import Store
from apprentice_workflows.cli.app import app
from apprentice_workflows.experiments.comparison import apart, beats, worst
from apprentice_workflows.on_the_job import online
from apprentice_workflows.on_the_job.baselines import baseline
from apprentice_workflows.on_the_job.models import BUNDLE, Job
from apprentice_workflows.on_the_job.online import cells, claims, job_online, practice_facts, run_cells
from apprentice_workflows.on_the_job.practice import PRACTISED, Cell, Trials, run_baseline, run_practice
from apprentice_workflows.on_the_job.rewards import job_rewards
from apprentice_workflows.on_the_job.settings import STEPS, settings
from apprentice_workflows.on_the_job.starts import collection_start, trial_start
from apprentice_workflows.on_the_job.tables import CONNECTORS, ablation_rows, rows
from apprentice_workflows.on_the_job.world import ROBOTS, ConnectorWorld, FrameSource


def test_starts_are_where_the_scenarios_say() -> None:
    rng = np.random.default_rng(0)
    first, ring, annulus = (np.array([trial_start(s, rng) for _ in range(2000)]) for s in ("I", "II", "II_annulus"))  # type: ignore[arg-type]
    assert np.abs(first).max() <= 0.010 and np.abs(first).max() > 0.0099
    largest = np.abs(ring).max(axis=1)
    assert largest.min() >= 0.010 and largest.max() <= 0.020
    # Uniform over the area: a quarter of the square's area is missing, so the inner half of the ring has 5/12 of it.
    assert np.mean(largest < 0.015) == pytest.approx(5 / 12, abs=0.04)
    assert np.linalg.norm(annulus, axis=1).min() >= 0.010 and np.linalg.norm(annulus, axis=1).max() <= 0.020
    assert np.abs(np.array([collection_start(rng) for _ in range(500)])).max() > 0.019


class Knows:
    """A localiser that is told by the world itself: what the baselines do with a perfect one."""

    model_id = "truth"

    def __init__(self, world: ConnectorWorld):
        self.world = world

    def localise(self, image: np.ndarray) -> np.ndarray:
        return -self.world.plug.tip[:2]


def test_baselines_localise_first_in_scenario_two_and_press() -> None:
    world = ConnectorWorld("square_0", ROBOTS[0], 32)
    start, found = (0.014, -0.006), {}
    for name in ("localize", "straight", "random", "spiral", "straight_alone"):
        found[name] = world.run(baseline(name, "II", lambda: Knows(world)), start, 5)  # type: ignore[arg-type]
    off = world.run(baseline("spiral", "I", lambda: pytest.fail("nothing is localised")), (0.003, 0.0), 5)
    world.close()
    assert found["localize"].success[-1] and found["straight"].success[-1]
    for name in ("straight", "random", "spiral"):
        tool = found[name].tool
        there = int((np.linalg.norm(tool[:, :2], axis=1) < 1e-3).argmax())
        assert 2 < there < 6 and tool[there, 2] > 0.02, "over the socket first, at the height of the start"
    alone = found["straight_alone"]
    assert not alone.success.any() and np.linalg.norm(alone.tool[-1, :2] - start) < 2e-3
    assert alone.trial.touched and alone.force[-1, 2] == pytest.approx(8.0, abs=2.5)
    assert np.ptp(off.tool[:, 0]) > 2e-3, "it searches, in scenario I from where it is"
    with pytest.raises(ApprenticeError, match="no baseline"):
        baseline("zigzag", "I", lambda: Knows(world))  # type: ignore[arg-type]


def test_held_out_connectors_are_refused_by_the_command_line(collected: Path) -> None:
    runner = CliRunner()
    for name in ("dt12_1", "dt12_1_b", "europlug"):
        result = runner.invoke(app, ["on-the-job", "train", "-p", "tiny", "-o", str(collected), "-c", "square_0", "-c", name])
        assert isinstance(result.exception, HeldOutError) and name in str(result.exception)
    result = runner.invoke(app, ["on-the-job", "practise", "slot_0", "-p", "tiny", "-o", str(collected)])
    assert isinstance(result.exception, ApprenticeError) and "in the training set" in str(result.exception)
    forbidden = Job(collected / "tiny", TINY, quiet).registry.forbidden
    assert set(CONNECTORS) <= forbidden and {f"{c}_b" for c in CONNECTORS} <= forbidden <= set(family())


def test_table_8_from_collection_to_result(collected: Path, tmp_path: Path) -> None:
    job = Job(collected / "tiny", TINY, quiet)
    result = job_rewards(job, tmp_path)
    assert [c["name"].split(", ")[1] for c in result["cells"]] == ["daib", "vib", "daib_lambda0", "erm", "dann"]
    assert result["verdict"] == "undecided", "one seed decides nothing (X15)"
    assert all(c["trials"] > 0 and 0 <= c["false_positive_rate"] <= 1 for c in result["cells"])
    kept = {p: p.stat().st_mtime_ns for p in (collected / "tiny" / "rewards").iterdir()}
    assert len(kept) == 5 and job_rewards(job, tmp_path)["cells"] == result["cells"]
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_probe_command_reports_the_latents_and_the_adversary(collected: Path) -> None:
    result = CliRunner().invoke(app, ["on-the-job", "probe", "-p", "tiny", "-o", str(collected), "-m", "daib", "-m", "erm", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert found["daib"]["domains"] == 2 * 3 and 0 <= found["daib"]["dead"] <= 1 and 0 < found["daib"]["chance"] < 0.5
    assert found["erm"]["specific"] is None and found["erm"]["adversary"] is None


def test_localiser_command_tells_errors_of_trained_and_of_held_out_connectors(collected: Path) -> None:
    result = CliRunner().invoke(app, ["on-the-job", "localiser", "-p", "tiny", "-o", str(collected), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert set(found) == {"trained on", "held out"} and all(sum(r["frames"] for r in rows) > 0 for rows in found.values())
    assert found["held out"][-1]["far"] is None and {r["near"] for r in found["held out"]} == {0.0, 1.0, 3.0, 6.0, 12.0}
    shown = CliRunner().invoke(app, ["on-the-job", "localiser", "-p", "tiny", "-o", str(collected)])
    assert shown.exit_code == 0 and "12 to inf mm" in shown.output and "held out" in shown.output


def test_the_adversary_of_c13_is_a_preset_of_its_own(tmp_path: Path) -> None:
    plain, strong = (Job(tmp_path, settings(p), quiet).frame_config("daib", 0).representation for p in ("small", "small_c13"))
    assert plain.adversary is None and not plain.normalise and plain.adv_weight == 1.0
    assert strong.adversary is not None and strong.normalise and strong.channels == plain.channels
    same = {k: v for k, v in settings("small").model_dump().items() if k not in ("adv_weight", "keep_up")}
    assert same.items() <= settings("small_c13").model_dump().items()


def test_practice_from_offline_to_online_in_one_report(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(collected / "tiny", TINY, quiet)
    found = run_cells(job, (0,), ("megablock_1x1",), ("daib_daib",))
    arm = found["daib_daib", "megablock_1x1", "II"][0]
    assert arm["trials"] == TINY.trials and arm["transitions"] == TINY.trials * STEPS
    parts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert sum(arm["confusion"][p] for p in parts) == arm["transitions"]
    assert arm["offline"]["episodes"] == arm["online"]["episodes"] == TINY.test_trials
    assert "megablock_1x1" not in job.training.connectors
    assert (collected / "tiny" / "policies" / "daib_daib_megablock_1x1_II_seed0" / "bundle.json").is_file()
    assert {c["name"] for c in cells(found)} >= {"I megablock_1x1, spiral", "II megablock_1x1, online", "II megablock_1x1, spiral_alone"}
    assert claims(found)["C-c5 online at least 15/20 everywhere"] != "holds", "three connectors were not run"
    assert set(practice_facts(found)) == {"I megablock_1x1, daib_daib", "II megablock_1x1, daib_daib"}
    table = {r[0]: r for r in rows(found, "I")}
    assert table["megablock_1x1"][4].endswith("(15)") and table["dt12_1"][6] == "-  (19)"
    assert ablation_rows(found)[2][1:] == ("- -> -  (6 -> 17)", "- -> -  (0 -> 2)", "- -> -  (0 -> 0)")
    # A second process reads what there is.
    again = Job(collected / "tiny", TINY, quiet)
    assert run_cells(again, (0,), ("megablock_1x1",), ("daib_daib",)) == found
    monkeypatch.setattr(online, "run_cells", lambda job, seeds: found)
    result = job_online(again, tmp_path)
    assert result["verdict"] in ("undecided", "does not hold") and (tmp_path / "plot.png").is_file()


def test_the_papers_budget_is_the_default() -> None:
    assert (settings("full").trials, settings("full").test_trials, STEPS) == (200, 20, 20)
    assert TINY.trials < 200, "and may be another"


def test_rule_x15() -> None:
    assert beats((18, 20), (3, 20)) == "holds" and beats((3, 20), (18, 20)) == "does not hold"
    assert beats((12, 20), (9, 20)) == "undecided" and beats((0, 0), (3, 20)) == "undecided"
    good, bad = [0.90, 0.91, 0.92], [0.80, 0.81, 0.82]
    assert apart(good, bad) == "holds" and apart(bad, good) == "does not hold" and apart(good[:2], bad[:2]) == "undecided"
    assert apart(good, bad, by=0.2) == "does not hold" and apart([0.5, 0.9, 0.7], bad) == "undecided"
    assert worst([]) == "undecided" and worst(["holds", "undecided"]) == "undecided" and worst(["holds", "holds"]) == "holds"
    assert worst(["undecided", "does not hold"]) == "does not hold"


PRACTISE = """
import sys
from pathlib import Path
from apprentice_workflows.on_the_job.models import Job
from apprentice_workflows.on_the_job.practice import Cell, run_practice
from apprentice_workflows.on_the_job.settings import settings
s = settings('tiny')
run_practice(Job(Path(sys.argv[1]), s, lambda *a: None), Cell('erm_erm', 'nema_15', 'I', 0), trials=6)
"""


def test_a_killed_practice_goes_on_behind_its_last_committed_trial(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 in the middle of practice: every trial and every transition once, and the same outcome as without the kill."""
    job, cell = Job(collected / "tiny", TINY, quiet), Cell("erm_erm", "nema_15", "I", 0)
    whole = run_practice(job, cell, trials=6)
    name = f"{cell.name}_trials6"
    for path in (collected / "tiny" / "cells" / f"{name}.json", collected / "tiny" / "cells" / name):
        path.rename(path.with_name("whole_" + path.name))
    episodes = collected / "tiny" / "cells" / name / "episodes"
    killed(PRACTISE, collected / "tiny", lambda: len(bags(episodes)) >= TINY.test_trials + 3)
    kept = {p: p.stat().st_mtime_ns for p in bags(episodes)}
    assert len(kept) < 6 + TINY.test_trials and not (collected / "tiny" / "cells" / f"{name}.json").exists()
    found = run_practice(Job(collected / "tiny", TINY, quiet), cell, trials=6)
    assert {k: v for k, v in found.items() if k != "cpu_s"} == {k: v for k, v in whole.items() if k != "cpu_s"}
    assert found["transitions"] == 6 * STEPS and {p: p.stat().st_mtime_ns for p in kept} == kept
    with Store(episodes) as store:
        assert store.check().ok
        rows = store.episodes(Trials.where(PRACTISED))
        assert len(rows) == 6 and len(store.episodes(Trials.where("offline"))) == len(store.episodes(Trials.where("online"))) == 2
        again = [store.read(r.episode_id) for r in rows]
    with Store(collected / "tiny" / "cells" / f"whole_{name}" / "episodes") as store:
        first = [store.read(r.episode_id) for r in store.episodes(Trials.where(PRACTISED))]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.observations[CAMERA], b.observations[CAMERA])
        np.testing.assert_array_equal(a.actions["noise"], b.actions["noise"])
    assert np.abs(np.stack([e.actions["noise"] for e in again])).max() > 0
    (collected / "tiny" / "cells" / f"{name}.json").unlink()
    monkeypatch.setattr(ClassifierReward, "model_id", "another", raising=False)
    with Store(episodes) as store, pytest.raises(ApprenticeError, match="of other models"):
        Trials(store, ConnectorWorld("nema_15", ROBOTS[0], TINY.size), cell, {"reward_model": "another"})


def test_rewards_replay_bit_exactly_from_the_bags_and_the_truth_is_never_learned(collected: Path) -> None:
    """X8: what R said live is what it says of the frames that are read back, and what the learner holds (C24)."""
    job = Job(collected / "tiny", TINY, quiet)
    tuner = job.tuner("erm", "erm", 0)
    judge = ClassifierReward(job.models("reward_erm", 0) / BUNDLE)
    journal, world = MemoryJournal(), ConnectorWorld("nema_15", ROBOTS[0], TINY.size)
    live: list[np.ndarray] = []
    folder = collected / "replayed"
    with Store(folder) as store:
        trials = Trials(store, world, Cell("erm_erm", "nema_15", "I", 0), {})
        for i in range(2):
            source = FrameSource(lambda image: tuner.act(image, explore=True), "erm_erm")
            episode = store.read(trials.drive(source, PRACTISED, 72, i, (judge,)))
            live.append(tuner.add(episode.observations[CAMERA], episode.actions["executed"]))
            world.run(source, (0.0, 0.0), i, sink=journal)
        for row, p in zip(store.episodes(Trials.where(PRACTISED)), live, strict=True):
            back = store.read(row.episode_id)
            np.testing.assert_array_equal(predict(job.reward("erm", 0).network, back.observations[CAMERA][1:]), p)
            for t in range(STEPS):
                now, after = ({k: v[t + d][None] for k, v in back.observations.items()} for d in (0, 1))
                batch = RewardBatch(now, back.actions["executed"][t][None], after, np.array([t]), np.array([STEPS]))
                said = judge.compute_reward(batch)
                assert said["inserted"].value[0] == back.rewards["classifier/inserted"][t]
                assert said["inserted_prob"].value[0] == back.rewards["classifier/inserted_prob"][t]
                assert back.digests[t] == observation_digest(back.observation_at(t))
    world.close()
    p = np.concatenate(live)
    assert np.array_equal(tuner.online["reward"], (p >= 0.5).astype(np.float32)) and len(tuner) == 2 * STEPS
    # The verdict of the pose is in the episodes, for reports; whatever it says, what is learned is the same.
    entries = journal.after(0)
    for truth, entry in zip((0.0, 1.0), entries, strict=True):
        assert entry.episode is not None
        entry.episode.observations[CAMERA][:] = back.observations[CAMERA]
        entry.episode.rewards[SUCCESS][:] = truth
        tuner.take(entry)
        assert trial_of(entry.episode, CAMERA).truth.all() == bool(truth)
    np.testing.assert_array_equal(*(tuner.online["reward"][n * STEPS : (n + 1) * STEPS] for n in (2, 3)))
    np.testing.assert_array_equal(tuner.online["reward"][-STEPS:], (live[-1] >= 0.5).astype(np.float32))


def test_a_baselines_trials_are_episodes_and_are_not_driven_twice(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, cell = Job(collected / "tiny", TINY, quiet), Cell("straight", "nema_15", "I", 3)
    found = run_baseline(job, cell)
    path = collected / "tiny" / "cells" / f"{cell.name}.json"
    path.unlink()
    monkeypatch.setattr(ConnectorWorld, "run", lambda *a, **k: pytest.fail("driven again"))
    again = run_baseline(job, cell)
    assert again["result"] == found["result"] and again["first_contact_trial"] == found["first_contact_trial"]


def test_the_alarm_ends_practice_in_the_world_when_r_praises_failures(collected: Path) -> None:
    job = Job(collected / "tiny", TINY, quiet)
    tuner = job.tuner("erm", "erm", 0)
    tuner.probability = lambda frames: np.ones(len(frames), dtype=np.float32)  # an artificial false-positive region: everywhere (C42)
    world, journal = ConnectorWorld("nema_15", ROBOTS[0], TINY.size), MemoryJournal()

    def practise(act: Act, i: int) -> None:
        world.run(FrameSource(act, "tuned"), (0.015, 0.015), i, sink=journal)

    def test(act: Act, i: int, phase: str) -> bool:
        return world.run(FrameSource(act, "tuned"), (0.015, 0.015), i).trial.success

    report = fine_tune(tuner, journal, practise, test, 5, 1, ExploitationAlarm(trials=2))
    world.close()
    assert report.stopped and report.trials == report.alarm_trial == 2
    assert report.confusion.false_positives == 2 * STEPS
