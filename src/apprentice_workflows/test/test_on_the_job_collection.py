"""Collection of chapter 10 in small: whose a trajectory is, kills, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_runs import ONE, TINY, bags, killed, quiet

from apprentice_core.errors import ApprenticeError
from apprentice_core.insertion import errors
from apprentice_learning.representations.dataset import CAMERA, SUCCESS, ConnectorData
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_store.bag_reader import digest_mismatches
from apprentice_store.store import Store
from apprentice_workflows.on_the_job.collection import WHERE, collect, read_collection, trajectories, trajectory
from apprentice_workflows.on_the_job.settings import STEPS
from apprentice_workflows.on_the_job.world import ROBOTS, ConnectorWorld


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


def test_a_collection_says_whose_it_is_and_is_merged_over_robots(collected: Path) -> None:
    folder = collected / "tiny" / "episodes"
    data = read_collection(folder, TINY, quiet)
    assert len(data.domains) == 2 * len(TINY.connectors) and len(data.frames) == len(data.domains) * TINY.trajectories * (STEPS + 1)
    assert (data.action[data.starts[1:] - 1] == 0).all()
    # The image says where the socket is: its offset is minus the tool's place.
    assert np.abs(data.offset).max() <= 0.045 and np.abs(data.offset[data.success]).max() < 0.003
    assert {e.background.split("_")[0] for e in data.episodes} == {"background"}
    assert {e.preprocessing for e in data.episodes} == {fingerprint()}


def test_a_committed_trajectory_is_what_was_driven_bit_for_bit(collected: Path) -> None:
    """Frames, actions by their parts, labels, privileged poses and the metadata of section 6, out of the bag (X8, C3)."""
    world = ConnectorWorld("slot_0", ROBOTS[1], TINY.size)
    driven = trajectory(world, TINY, 1)
    world.close()
    assert driven.episode_id == "", "nothing was recorded without a sink"
    with Store(collected / "tiny" / "episodes") as store:
        assert store.check().ok
        rows = store.episodes("task = 'slot_0' and robot = 'robot_1'")
        assert len(rows) == TINY.trajectories and all(r.seed is not None and r.action_space == "cartesian_displacement" for r in rows)
        episode = store.read(rows[1].episode_id)
    np.testing.assert_array_equal(episode.observations[CAMERA], driven.frames)
    for kind, values in (("source", driven.base), ("noise", driven.noise), ("executed", driven.executed)):
        np.testing.assert_array_equal(episode.actions[kind], values)
    np.testing.assert_array_equal(episode.rewards[SUCCESS], driven.success[1:])
    np.testing.assert_array_equal(episode.observations["wrist/wrench"][:, :3], driven.force)
    assert episode.outcome.success == driven.success[-1] and not episode.outcome.terminated and digest_mismatches(episode) == []
    # Tip minus socket without the error of the grasp is what the arm believes.
    assert np.abs(errors(episode) - driven.tool).max() < 2e-3
    said = episode.meta["metadata"]
    assert said["connector_id"] == "slot_0" and said["robot_id"] == "robot_1" and said["domain_id"] == "slot_0@robot_1"
    assert said["background_id"].startswith("background_") and said["preprocessing"] == fingerprint() and said["base_hash"]
    # The columns of the cache, and episodes one by one, are the same data.
    with Store(collected / "tiny" / "episodes") as store:
        one_by_one = ConnectorData.from_episodes(list(store.load(r.episode_id for r in rows)))
        columns = ConnectorData.from_store(store, "task = 'slot_0' and robot = 'robot_1'")
    for field in ("frames", "action", "success", "offset", "starts"):
        np.testing.assert_array_equal(getattr(one_by_one, field), getattr(columns, field))
    assert one_by_one.episodes == columns.episodes


COLLECT = """
import sys
from pathlib import Path
from apprentice_workflows.on_the_job.collection import collect
from apprentice_workflows.on_the_job.settings import settings
s = settings('tiny').model_copy(update={'connectors': ('square_0',), 'trajectories': 6})
collect(Path(sys.argv[1]), s, lambda *a: None)
"""


def test_a_killed_collection_goes_on_with_the_next_trajectory_and_comes_out_the_same(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    six = ONE.model_copy(update={"trajectories": 6})
    collect(whole, six, quiet)
    # Cut off while the second trajectory or a later one is under way, most often within its bag.
    killed(COLLECT, cut, lambda: len(bags(cut)) >= 1 and any(cut.glob("*.open")))
    kept = {p: p.stat().st_mtime_ns for p in bags(cut)}
    assert 1 <= len(kept) < 12
    with pytest.raises(ApprenticeError, match=r"trajectories are missing, such as square_0@robot_\d number \d; collect first"):
        read_collection(cut, six, quiet)
    collect(cut, six, quiet)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept and len(bags(cut)) == 12, "what was there is not recorded again"
    with Store(cut) as store:
        assert store.check().ok
    a, b = (read_collection(f, six, quiet) for f in (whole, cut))
    for field in ("frames", "action", "success", "offset", "starts"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert a.episodes == b.episodes


def test_arrays_go_by_the_bags_and_are_built_again_when_these_are_others(tmp_path: Path) -> None:
    collect(tmp_path, ONE, quiet)
    first = read_collection(tmp_path, ONE, quiet)
    built = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cache/*/cache.json")}
    assert read_collection(tmp_path, ONE, quiet).episodes == first.episodes
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("cache/*/cache.json")} == built and len(built) == 1
    with Store(tmp_path) as store:
        hidden = store.episodes(WHERE)[0]
        store.hide(hidden.episode_id)
    fewer = read_collection(tmp_path, ONE, quiet)
    assert len(fewer.episodes) == 3 and np.array_equal(fewer.frames, first.frames[STEPS + 1 :])
    collect(tmp_path, ONE, quiet)
    assert len(bags(tmp_path)) == 4, "what a person hid is not collected again"


def test_another_collection_is_refused_and_a_damaged_bag_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ApprenticeError, match="collect first"):
        read_collection(tmp_path / "none", ONE, quiet)
    collect(tmp_path, ONE, quiet)
    with pytest.raises(ApprenticeError, match=r"noisy 0\.2 instead of 0\.5"):
        collect(tmp_path, ONE.model_copy(update={"noisy": 0.5}), quiet)
    with pytest.raises(ApprenticeError, match=r"1 trajectories .* square_0@robot_0 number 1|2 trajectories"):
        collect(tmp_path, ONE.model_copy(update={"trajectories": 1}), quiet)
    bag = next(p.parent for p in sorted(bags(tmp_path)))
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:3000])
    assert len(read_collection(tmp_path, ONE, quiet).episodes) == 3 and bag.name in caplog.text
