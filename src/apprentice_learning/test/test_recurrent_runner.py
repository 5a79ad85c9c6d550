"""Acting with a recurrent bundle: memory within an episode, none between; who may feed it tracked poses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import BundleError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.bundles import write_policy
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import RecurrentPolicy
from apprentice_learning.runner import PolicyRunner

SPECS = (ArraySpec("camera/front", (16, 24, 3), "uint8"), ArraySpec("tool/pose", (3,)))
TRACKED = ArraySpec("tracked/object/green/pose", (7,))


def write(folder, period: int = 0, tracked: bool = False) -> RecurrentPolicy:
    torch.manual_seed(0)
    proprio = ("tool/pose", TRACKED.name) if tracked else ("tool/pose",)
    network = NetworkConfig(cameras=("camera/front",), proprio=proprio, encoder="tiny", hidden=(16, 16))
    policy = RecurrentPolicy((*SPECS, TRACKED), 7, network, period).eval()
    torch.nn.init.normal_(policy.head.weight)
    write_policy(folder, policy, name="p", algorithm="d4pg")
    return policy


def frames(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"camera/front": rng.integers(0, 256, (16, 24, 3), dtype=np.uint8), "tool/pose": rng.normal(size=3).astype(np.float32)}
            for _ in range(count)]


def begin(runner: PolicyRunner, **fields) -> None:
    runner.reset(EpisodeContext(**({"episode_id": "01J", "task": "lift", "seed": 1} | fields)))


def acts(runner: PolicyRunner, observations) -> np.ndarray:
    return np.stack([runner.act(o, Segment()).values for o in observations])


def test_steps_equal_the_sequence_of_training_and_episodes_begin_at_zero(tmp_path):
    policy = write(tmp_path / "b")
    runner, seen = PolicyRunner(tmp_path / "b"), frames(6)
    begin(runner)
    first = acts(runner, seen)
    with torch.no_grad():
        expected = policy({n: torch.from_numpy(np.stack([o[n] for o in seen]))[:, None] for n in seen[0]})[:, 0]
    np.testing.assert_allclose(first, expected, atol=1e-5)
    assert np.abs(acts(runner, seen) - first).max() > 1e-3  # the state goes on within an episode
    begin(runner)
    np.testing.assert_array_equal(acts(runner, seen), first)


def test_periodic_reset(tmp_path):
    write(tmp_path / "b", period=3)
    runner, seen = PolicyRunner(tmp_path / "b"), frames(3)
    begin(runner)
    np.testing.assert_array_equal(acts(runner, seen), acts(runner, seen))


def test_observing_moves_the_state_on_once(tmp_path):
    write(tmp_path / "b")
    runner, seen = PolicyRunner(tmp_path / "b"), frames(4)
    begin(runner)
    expected = acts(runner, seen)[-1]
    begin(runner)
    runner.act(seen[0], Segment())
    runner.observe(seen[0], np.zeros(7, np.float32))  # asked, then overruled
    runner.observe(seen[1], np.zeros(7, np.float32))  # not asked at all
    runner.act(seen[2], Segment())
    np.testing.assert_array_equal(runner.act(seen[3], Segment()).values, expected)


def test_one_bad_observation_does_not_spoil_the_episode(tmp_path):
    write(tmp_path / "b")
    runner, seen = PolicyRunner(tmp_path / "b"), frames(2)
    begin(runner)
    runner.act(seen[0], Segment())
    answer = runner.act(seen[0] | {"tool/pose": np.full(3, np.nan, np.float32)}, Segment())
    assert answer.fault == "nan" and not answer.values.any()
    assert runner.act(seen[1], Segment()).fault == ""


def test_noise_is_off_until_asked_for(tmp_path):
    write(tmp_path / "b")
    runner, seen = PolicyRunner(tmp_path / "b"), frames(1)[0]
    begin(runner, deterministic=False)
    answer = runner.act(seen, Segment())
    assert answer.noise is None or not answer.noise.any()
    begin(runner, metadata={"exploration_noise": 0.1})
    noise = np.array([runner.act(seen, Segment()).noise for _ in range(300)])
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.25)


def test_tracked_poses_reach_a_policy_only_where_allowed(tmp_path):
    write(tmp_path / "b", tracked=True)
    plain = PolicyRunner(tmp_path / "b")
    assert not plain.needs_privileged, "nothing hands it the privileged channel"
    with pytest.raises(BundleError, match="no tracker"):
        plain.check(SPECS, (ArraySpec("object/green/pose", (7,)),))
    begin(plain)
    with pytest.raises(ValueError, match="lacks tracked"):
        plain.act(frames(1)[0], Segment(), {"object/green/pose": np.zeros(7, np.float32)} if plain.needs_privileged else None)
    runner = PolicyRunner(tmp_path / "b", allow_tracked=True)
    assert runner.needs_privileged
    with pytest.raises(BundleError, match="tracked/object/green/pose"):
        runner.check(SPECS)
    runner.check(SPECS, (ArraySpec("object/green/pose", (7,)),))
    begin(runner)
    seen = frames(1)[0]
    pose = np.arange(7, dtype=np.float32)
    near, far = (runner.act(seen, Segment(), {"object/green/pose": p}).values for p in (pose, pose + 1))
    assert not np.array_equal(near, far)
    with pytest.raises(ValueError, match="lacks tracked"):
        runner.act(seen, Segment())


def test_a_cell_with_a_tracker_feeds_the_policy_from_its_observation(tmp_path):
    write(tmp_path / "b", tracked=True)
    camera, truth = PolicyRunner(tmp_path / "b"), PolicyRunner(tmp_path / "b", allow_tracked=True)
    camera.check((*SPECS, TRACKED))
    pose = np.arange(7, dtype=np.float32)
    seen = {**frames(1)[0], TRACKED.name: pose}
    values = []
    for runner, privileged in ((camera, None), (truth, {"object/green/pose": pose + 1}), (truth, {"object/green/pose": pose})):
        begin(runner)
        values.append(runner.act(seen, Segment(), privileged).values)
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


@pytest.mark.parametrize("period", [-1, "3", None, 10**9])
def test_tampered_reset_period_is_refused(tmp_path, period):
    write(tmp_path / "b")
    path = tmp_path / "b" / "bundle.json"
    raw = json.loads(path.read_text())
    raw["network"]["state_reset_period"] = period
    path.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match="state_reset_period"):
        PolicyRunner(tmp_path / "b")
