from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.spaces import cartesian_displacement
from apprentice_learning.algorithms.learner import Learner
from apprentice_learning.bundles import read_policy, write_policy
from apprentice_learning.checkpoint import checkpoints, load_checkpoint
from apprentice_learning.config import load_train_config, make_learner
from apprentice_learning.data.columns import ArrayColumns, observation_specs
from apprentice_learning.runner import PolicyRunner
from apprentice_learning.trainer import Trainer
from apprentice_store.testing import child_environment

CAMERA = "camera/front"
ALGORITHMS = ("bc", "iql", "d4pg", "td3", "sac")


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learner_contract(algorithm, columns, tmp_path, train_config):
    """Few updates, save, load into a fresh learner, go on: bit-equal; the exported policy says the same."""
    config = train_config(algorithm)
    trainer = Trainer(config, columns, tmp_path)
    learner = trainer.learner
    assert isinstance(learner, Learner)
    for _ in range(3):
        metrics = learner.update(trainer.sampler.sample())
        assert metrics and all(torch.isfinite(v) for v in metrics.values())
    torch.manual_seed(9)
    other = make_learner(config, observation_specs(columns), 2)
    assert not equal(other.state_dict(), learner.state_dict())
    other.load_state_dict(learner.state_dict())
    assert equal(other.state_dict(), learner.state_dict())
    batch = trainer.sampler.sample()
    for each in (learner, other):
        torch.manual_seed(1)
        each.update(batch)
    assert equal(other.state_dict(), learner.state_dict())
    before = learner.state_dict()
    learner.validate(batch)
    assert equal(before, learner.state_dict())
    with pytest.raises(ValueError, match="no phase"):
        learner.set_phase("dream")
    with pytest.raises(ValueError, match="does not fit"):
        learner.load_state_dict({k: v for k, v in before.items() if "policy" not in k})
    write_policy(tmp_path / "bundle", learner.policy(), name="p", algorithm=algorithm)
    _, network, _ = read_policy(tmp_path / "bundle")
    assert torch.equal(network(batch.observation), learner.policy().eval()(batch.observation))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_resumed_run_equals_an_unbroken_one(algorithm, columns, tmp_path, train_config):
    whole = Trainer(train_config(algorithm), columns, tmp_path / "whole")
    whole.run()
    Trainer(train_config(algorithm, steps=3), columns, tmp_path / "parts").run()
    rest = Trainer(train_config(algorithm), columns, tmp_path / "parts")
    assert rest.resume() and rest.step == 3
    rest.run()
    assert equal(whole.learner.state_dict(), rest.learner.state_dict())
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 6


def test_the_seed_decides_every_bit(columns, tmp_path, train_config):
    def trained(seed: int, folder: str) -> dict:
        trainer = Trainer(train_config("d4pg", seed=seed), columns, tmp_path / folder)
        trainer.run()
        return trainer.learner.state_dict()

    one, same, other = trained(3, "one"), trained(3, "same"), trained(4, "other")
    assert equal(one, same) and not equal(one, other)


def test_a_killed_run_goes_on_to_the_bit(columns, tmp_path, train_config):
    """kill -9 between two checkpoints: what was lost is done again, to the same end."""
    whole = Trainer(train_config("d4pg", steps=7), columns, tmp_path / "whole")
    whole.run()
    # Started anew: a fork of this process would hold the locks of threads that it does not have.
    child = subprocess.run([sys.executable, __file__, tmp_path / "parts"], env=child_environment(), check=False)
    assert child.returncode == -signal.SIGKILL
    rest = Trainer(train_config("d4pg", steps=7), columns, tmp_path / "parts")
    assert rest.resume() and rest.step == 3
    rest.run()
    assert equal(whole.learner.state_dict(), rest.learner.state_dict())


def test_a_gpu_that_is_not_there_is_named(columns, tmp_path, train_config):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ApprenticeError, match="device: cuda"):
        Trainer(train_config("d4pg", device="cuda"), columns, tmp_path)


def test_interrupt_leaves_a_checkpoint(columns, tmp_path, train_config):
    trainer = Trainer(train_config("bc", steps=10_000), columns, tmp_path)
    result = trainer.run(progress=lambda step, steps, metrics: os.kill(os.getpid(), signal.SIGINT) if step == 5 else None)
    assert result.stopped and 5 <= result.steps < 10_000
    again = Trainer(train_config("bc", steps=10_000), columns, tmp_path)
    assert again.resume() and again.step == result.steps
    assert equal(again.learner.state_dict(), trainer.learner.state_dict())


def test_checkpoints_are_few_whole_and_of_this_config(columns, tmp_path, train_config):
    Trainer(train_config("bc", steps=12, checkpoint_every=2, keep_checkpoints=2), columns, tmp_path).run()
    kept = checkpoints(tmp_path / "checkpoints")
    assert [p.name for p in kept] == ["step_000000010", "step_000000012"]
    with pytest.raises(ApprenticeError, match="another config"):
        Trainer(train_config("bc", seed=5), columns, tmp_path).resume()
    (kept[-1] / "state.safetensors").write_bytes(b"torn")
    with pytest.raises(ApprenticeError, match="cannot be read"):
        load_checkpoint(kept[-1])


def test_training_learns_what_only_the_camera_shows(columns, tmp_path, train_config):
    config = train_config("bc", steps=300, batch=32, random_shift=0, log_every=300, validate_every=300, checkpoint_every=300,
                          learner={"algorithm": "bc", "settings": {"loss": "mse", "learning_rate": 3e-3}})
    trainer = Trainer(config, columns, tmp_path)
    before = trainer.validate()["validation/action_error"]
    after = trainer.run().metrics["validation/action_error"]
    assert after < 0.25 * before


def test_not_finite_data_stop_the_run(episodes, tmp_path, train_config):
    from apprentice_learning.data.columns import ArrayColumns

    columns = ArrayColumns.from_episodes(episodes)
    columns.columns["action/source"][:] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        Trainer(train_config("bc"), columns, tmp_path).run()


@pytest.fixture
def bundle(columns, tmp_path, train_config):
    trainer = Trainer(train_config("iql"), columns, tmp_path / "run")
    trainer.run()
    write_policy(tmp_path / "bundle", trainer.learner.policy(), name="p", algorithm="iql", action_space="x", action_space_hash="h")
    return tmp_path / "bundle", trainer


def context(**fields) -> EpisodeContext:
    return EpisodeContext(**({"episode_id": "01J", "task": "reach", "seed": 4} | fields))


def test_runner_is_the_network_of_training(bundle, columns):
    path, trainer = bundle
    runner = PolicyRunner(path)
    runner.reset(context())
    network = trainer.learner.policy().eval()
    for row in range(5):
        observation = {n: columns.columns[n][row] for n in (CAMERA, "tool/pose")}
        answer = runner.act(observation, Segment())
        with torch.no_grad():
            expected = network({n: torch.from_numpy(v.copy())[None] for n, v in observation.items()})[0].numpy()
        np.testing.assert_array_equal(answer.values, expected)
        assert answer.noise is None and answer.fault == "" and answer.values.dtype == np.float32


def test_runner_samples_and_explores_in_noise_alone(bundle, columns):
    path, trainer = bundle
    observation = {n: columns.columns[n][0] for n in (CAMERA, "tool/pose")}
    runner = PolicyRunner(path)
    runner.reset(context())
    mean = runner.act(observation, Segment()).values
    runner.reset(context(deterministic=False))
    first = [runner.act(observation, Segment()) for _ in range(400)]
    assert all(np.array_equal(a.values, mean) for a in first)
    std = np.std([a.noise for a in first], axis=0)
    np.testing.assert_allclose(std, trainer.learner.policy().head.log_std.exp().detach().numpy(), rtol=0.2)
    runner.reset(context(deterministic=False))
    np.testing.assert_array_equal(runner.act(observation, Segment()).noise, first[0].noise)
    runner.reset(context(metadata={"exploration_noise": 0.1}))
    np.testing.assert_allclose(np.std([runner.act(observation, Segment()).noise for _ in range(400)], axis=0), 0.1, rtol=0.2)


def test_runner_refuses_wrong_input_and_survives_nan(bundle, columns):
    path, _ = bundle
    runner = PolicyRunner(path)
    runner.reset(context())
    good = {n: columns.columns[n][0] for n in (CAMERA, "tool/pose")}
    for wrong in ({CAMERA: good[CAMERA]}, good | {"tool/pose": np.zeros(4, np.float32)}, good | {CAMERA: good[CAMERA].astype(np.float32)}):
        with pytest.raises(ValueError, match=r"tool/pose|camera/front"):
            runner.act(wrong, Segment())
    answer = runner.act(good | {"tool/pose": np.full(3, np.nan, np.float32)}, Segment())
    assert answer.fault == "nan" and not answer.values.any()
    assert runner.act(good, Segment()).fault == ""
    with pytest.raises(BundleError, match="action_space_hash"):
        PolicyRunner(path, action_space=cartesian_displacement())
    with pytest.raises(BundleError, match="camera/front"):
        runner.check(tuple(s for s in observation_specs(columns) if s.name != CAMERA))


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d["network"].update(type="pickle/1"), "network.type"), (lambda d: d["network"].update(actions="7"), "network.actions"),
    (lambda d: d["network"]["config"].update(depth=3), "network.config.depth"), (lambda d: d.update(kind="encoder"), "kind"),
    (lambda d: d["network"]["config"].update(hidden=[8]), "weights do not fit"), (lambda d: d.pop("observation"), "observation"),
])
def test_tampered_bundles_are_refused_with_the_field(bundle, change, message):
    path, _ = bundle
    raw = json.loads((path / "bundle.json").read_text())
    change(raw)
    (path / "bundle.json").write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=message):
        PolicyRunner(path)


def test_tampered_weights_are_refused(bundle):
    path, _ = bundle
    data = bytearray((path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "weights.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match="weights_hash"):
        PolicyRunner(path)


@pytest.mark.parametrize("name", ["bc", "bc_demo", "iql", "iql_demo", "d4pg", "d4pg_small", "d4pg_lowdim"])
def test_shipped_configs_load(name):
    config = load_train_config(name)
    assert config.name == name and config.learner.algorithm == name.split("_")[0]


def killed(folder: Path) -> None:
    from conftest import make_episodes, make_train_config

    columns = ArrayColumns.from_episodes(make_episodes())
    Trainer(make_train_config("d4pg", steps=7), columns, folder).run(
        progress=lambda step, steps, metrics: os.kill(os.getpid(), signal.SIGKILL) if step == 5 else None
    )


if __name__ == "__main__":
    killed(Path(sys.argv[1]))
