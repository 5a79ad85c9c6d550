"""A whole cell of node processes in lockstep: episodes run, are recorded, and read back bit for bit."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_reader import digest_mismatches, read_episode
from apprentice_store.store import Store

pytestmark = pytest.mark.timeout(120)


def lift(seed: int = 3, source: str = "lift_expert", **more) -> EpisodeRequest:
    return EpisodeRequest("lift_demo", source, ResetRequest("full", seed=seed), **{"end_on_success": True, **more})


def test_episodes_are_recorded_and_read_back_bit_equal(processes, ros) -> None:
    processes.start_cell()
    cell = ros()
    phases: list[str] = []
    refs = [cell.run(lift(seed), lambda phase, episode, step: phases.append(phase)) for seed in (3, 4)]
    with pytest.raises(ApprenticeError, match="refused"):
        cell.run(EpisodeRequest("pick_place", "lift_expert"))
    with pytest.raises(ApprenticeError, match="refused"):
        cell.run(lift(source="nobody"))
    with pytest.raises(ApprenticeError, match="refused"):
        cell.run(EpisodeRequest("lift_demo", "lift_expert", ResetRequest("full", initial_state="normal/none_such")))
    assert set(phases) == {"resetting", "running", "committing"}
    for ref in refs:
        assert ref.success and ref.terminated and ref.reason == "success" and ref.lost == 0
        episode = read_episode(Path(ref.path))
        assert len(episode) == ref.steps > 10
        assert all(episode.digests) and digest_mismatches(episode) == []
        assert episode.observations["camera/wrist_left"].shape == (ref.steps + 1, 96, 128, 3)
        assert set(episode.actors) == {"lift_expert"} and set(episode.outcomes) == {"applied"}
        assert episode.discount[-1] == 0.0 and (episode.discount[:-1] == 1.0).all()
        assert episode.rewards["scripted/sparse"][-1] == 1.0 and not episode.rewards["scripted/sparse"][:-1].any()
        period = np.diff(episode.stamps["tick"])
        # The first observation is of the world at rest, the others are seen a delay of 30 ms later than they were acquired.
        assert period[0] == 70_000_000 and (period[1:] == 100_000_000).all(), "a tick is one control period of sim time"
        assert np.abs(episode.actions["executed"]).max() <= 1.0
    with Store(processes.data) as store:
        rows = {r.episode_id: r for r in store.episodes()}
        assert {r.kind for r in rows.values()} == {"episode", "reset"}
        assert sum(r.lost for r in rows.values()) == 0
        assert store.check().ok
    for key in list(processes.nodes):
        assert processes.stop(key) == 0, f"{key} did not end with 0 on SIGINT"


def test_stepping_from_outside_is_an_action_source_like_any_other(processes, ros) -> None:
    processes.start_cell(cameras=(), scripts=())
    cell = ros()
    with pytest.raises(ApprenticeError, match="reset"):
        cell.observe()
    assert cell.reset(ResetRequest("full", seed=5), record=True, steps=6).ok
    start = cell.observe()["tool/pose"].copy()
    down = np.zeros(7, np.float32)
    down[2] = -0.5
    results = [cell.step(down) for _ in range(6)]
    assert [r.truncated for r in results] == [False] * 5 + [True] and results[-1].reason == "horizon"
    assert set(results[0].rewards) == {"scripted/sparse", "scripted/shaped"}
    assert "object/green/pose" in results[0].privileged
    np.testing.assert_allclose(results[0].executed[:6], down[:6], atol=0.05)
    assert results[0].executed[6] == -1.0, "the reset has opened the gripper"
    assert results[-1].observation["tool/pose"][2] < start[2] - 0.01
    with pytest.raises(ApprenticeError, match="over"):
        cell.step(down)
    assert cell.reset(ResetRequest("robot", seed=5)).ok
    bad = cell.step(np.full(7, np.nan, np.float32))
    np.testing.assert_array_equal(bad.executed[:6], np.zeros(6))
    cell.close()
    for key in list(processes.nodes):
        assert processes.stop(key, signal.SIGTERM) == 0, f"{key} did not end with 0 on SIGTERM"
