"""Chapter 10 in small: collection, splits, baselines, cells; the real runs are long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from apprentice_core.errors import ApprenticeError
from apprentice_learning.representations.on_the_job import fine_tune
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_learning.representations.registry import HeldOutError
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm
from apprentice_sim.connectors import family
from apprentice_workflows.cli.app import app
from apprentice_workflows.experiments.comparison import apart, beats, worst
from apprentice_workflows.on_the_job import online
from apprentice_workflows.on_the_job.baselines import baseline
from apprentice_workflows.on_the_job.collection import collect, read_collection, read_domain, read_facts, trajectories
from apprentice_workflows.on_the_job.models import Job
from apprentice_workflows.on_the_job.online import cells, claims, job_online, practice_facts, run_cells
from apprentice_workflows.on_the_job.rewards import job_rewards
from apprentice_workflows.on_the_job.settings import STEPS, settings
from apprentice_workflows.on_the_job.starts import collection_start, trial_start
from apprentice_workflows.on_the_job.tables import CONNECTORS, ablation_rows, rows
from apprentice_workflows.on_the_job.world import ROBOTS, ConnectorWorld

TINY = settings("tiny")
ONE = TINY.model_copy(update={"connectors": ("square_0",), "trajectories": 2})


def quiet(*said: object) -> None:
    pass


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on_the_job")
    collect(folder / "tiny" / "episodes", TINY, quiet)
    return folder


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


def test_the_collector_goes_to_the_centre_line_then_down_and_a_fifth_of_its_steps_are_drawn() -> None:
    s = TINY.model_copy(update={"trajectories": 12})
    world = ConnectorWorld("square_1", ROBOTS[1], 32)
    found = list(trajectories(world, s))
    again = next(iter(trajectories(world, s)))
    world.close()
    base, noise, executed = (np.concatenate([getattr(t, n) for t in found]) for n in ("base", "noise", "executed"))
    tool = np.concatenate([t.tool[:-1] for t in found])
    near = np.linalg.norm(tool[:, :2], axis=1) <= 1e-3
    assert near.any() and not near.all()
    np.testing.assert_array_equal(base[near], np.broadcast_to([0.0, 0.0, -1.0], base[near].shape))
    assert (base[~near, 2] == 0).all() and ((base[~near, :2] * tool[~near, :2]) <= 0).all()
    drawn = np.abs(noise).max(axis=1) > 0
    assert 0.1 < drawn.mean() < 0.3
    np.testing.assert_array_equal(executed[~drawn], base[~drawn])
    assert np.abs(executed).max() <= 1.0
    share = np.mean([t.success.mean() for t in found])
    assert 0.15 < share < 0.8, "frames of both kinds"
    np.testing.assert_array_equal(again.frames, found[0].frames)


def test_a_collection_says_whose_it_is_and_is_merged_over_robots(out: Path) -> None:
    folder = out / "tiny" / "episodes"
    said = read_facts(folder / "slot_0@robot_1.npz")
    assert said["connector_id"] == "slot_0" and said["robot_id"] == "robot_1" and said["domain_id"] == "slot_0@robot_1"
    assert said["background_id"].startswith("background_") and said["preprocessing"] == fingerprint() and said["base_hash"]
    data = read_collection(folder, TINY)
    assert len(data.domains) == 2 * len(TINY.connectors) and len(data.frames) == len(data.domains) * TINY.trajectories * (STEPS + 1)
    assert (data.action[data.starts[1:] - 1] == 0).all()
    # The image says where the socket is: its offset is minus the tool's place.
    assert np.abs(data.offset).max() <= 0.045 and np.abs(data.offset[data.success]).max() < 0.003


def test_a_killed_collection_goes_on_and_comes_out_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from apprentice_workflows.on_the_job.collection import collect; "
        "from apprentice_workflows.on_the_job.settings import settings; "
        "s = settings('tiny').model_copy(update={'connectors': ('square_0',), 'trajectories': 2}); "
        "collect(Path(sys.argv[1]), s, lambda *a: None)"
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    collect(whole, ONE, quiet)
    first = cut / "square_0@robot_0.npz"
    process = subprocess.Popen([sys.executable, "-c", code, str(cut)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not first.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = first.stat().st_mtime_ns
    (cut / "square_0@robot_1.npz").unlink(missing_ok=True)  # where the kill came late
    (cut / "square_0@robot_1.npz.part").write_bytes(b"half a file")
    collect(cut, ONE, quiet)
    assert first.stat().st_mtime_ns == kept, "what was there is not recorded again"
    for robot in ROBOTS:
        a, b = (read_domain(f / f"square_0@{robot}.npz") for f in (whole, cut))
        for field in ("frames", "action", "success", "offset"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_another_collection_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ApprenticeError, match="collect first"):
        read_collection(tmp_path, ONE)
    collect(tmp_path, ONE, quiet)
    with pytest.raises(ApprenticeError, match=r"noisy 0\.2 instead of 0\.5"):
        collect(tmp_path, ONE.model_copy(update={"noisy": 0.5}), quiet)
    path = tmp_path / "square_0@robot_0.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ApprenticeError, match=r"square_0@robot_0\.npz: not a file of a collection"):
        read_collection(tmp_path, ONE)
    np.savez(path, facts=np.array("[1]"))
    with pytest.raises(ApprenticeError, match="facts"):
        read_facts(path)


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
        assert np.linalg.norm(found[name].tool[3, :2]) < 1e-3 and found[name].tool[3, 2] > 0.02
    alone = found["straight_alone"]
    assert not alone.success.any() and np.linalg.norm(alone.tool[-1, :2] - start) < 2e-3
    assert alone.touched and alone.force[-1, 2] == pytest.approx(8.0, abs=2.5)
    assert np.ptp(off.tool[:, 0]) > 2e-3, "it searches, in scenario I from where it is"
    with pytest.raises(ApprenticeError, match="no baseline"):
        baseline("zigzag", "I", lambda: Knows(world))  # type: ignore[arg-type]


def test_held_out_connectors_are_refused_by_the_command_line(out: Path) -> None:
    runner = CliRunner()
    for name in ("dt12_1", "dt12_1_b", "europlug"):
        result = runner.invoke(app, ["on-the-job", "train", "-p", "tiny", "-o", str(out), "-c", "square_0", "-c", name])
        assert isinstance(result.exception, HeldOutError) and name in str(result.exception)
    result = runner.invoke(app, ["on-the-job", "practise", "slot_0", "-p", "tiny", "-o", str(out)])
    assert isinstance(result.exception, ApprenticeError) and "in the training set" in str(result.exception)
    forbidden = Job(out / "tiny", TINY, quiet).registry.forbidden
    assert set(CONNECTORS) <= forbidden and {f"{c}_b" for c in CONNECTORS} <= forbidden <= set(family())


def test_table_8_from_collection_to_result(out: Path, tmp_path: Path) -> None:
    job = Job(out / "tiny", TINY, quiet)
    result = job_rewards(job, tmp_path)
    assert [c["name"].split(", ")[1] for c in result["cells"]] == ["daib", "vib", "daib_lambda0", "erm", "dann"]
    assert result["verdict"] == "undecided", "one seed decides nothing (X15)"
    assert all(c["trials"] > 0 and 0 <= c["false_positive_rate"] <= 1 for c in result["cells"])
    kept = {p: p.stat().st_mtime_ns for p in (out / "tiny" / "rewards").iterdir()}
    assert len(kept) == 5 and job_rewards(job, tmp_path)["cells"] == result["cells"]
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_practice_from_offline_to_online_in_one_report(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(out / "tiny", TINY, quiet)
    found = run_cells(job, (0,), ("megablock_1x1",), ("daib_daib",))
    arm = found["daib_daib", "megablock_1x1", "II"][0]
    assert arm["trials"] == TINY.trials and arm["transitions"] == TINY.trials * STEPS
    parts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert sum(arm["confusion"][p] for p in parts) == arm["transitions"]
    assert arm["offline"]["episodes"] == arm["online"]["episodes"] == TINY.test_trials
    assert "megablock_1x1" not in job.training.connectors
    assert (out / "tiny" / "policies" / "daib_daib_megablock_1x1_II_seed0" / "bundle.json").is_file()
    assert {c["name"] for c in cells(found)} >= {"I megablock_1x1, spiral", "II megablock_1x1, online", "II megablock_1x1, spiral_alone"}
    assert claims(found)["C-c5 online at least 15/20 everywhere"] != "holds", "three connectors were not run"
    assert set(practice_facts(found)) == {"I megablock_1x1, daib_daib", "II megablock_1x1, daib_daib"}
    table = {r[0]: r for r in rows(found, "I")}
    assert table["megablock_1x1"][4].endswith("(15)") and table["dt12_1"][6] == "-  (19)"
    assert ablation_rows(found)[2][1:] == ("- -> -  (6 -> 17)", "- -> -  (0 -> 2)", "- -> -  (0 -> 0)")
    # A second process reads what there is.
    again = Job(out / "tiny", TINY, quiet)
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


def test_the_alarm_ends_practice_in_the_world_when_r_praises_failures(out: Path) -> None:
    job = Job(out / "tiny", TINY, quiet)
    tuner = job.tuner("erm", "erm", 0)
    tuner.probability = lambda frames: np.ones(len(frames), dtype=np.float32)  # an artificial false-positive region: everywhere (C42)
    world = ConnectorWorld("nema_15", ROBOTS[0], TINY.size)
    report = fine_tune(
        tuner, lambda act, i: world.practise(act, (0.015, 0.015), i), lambda act, i: world.practise(act, (0.015, 0.015), i), 5, 1,
        ExploitationAlarm(trials=2),
    )
    world.close()
    assert report.stopped and report.trials == report.alarm_trial == 2
    assert report.confusion.false_positives == 2 * STEPS
