"""What policies read: slices of vectors, goals of segments, the small grayscale image; and how PolicyRunner feeds and samples them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, BundleError, ConfigError
from apprentice_core.images import box_reduce
from apprentice_core.spaces import ArraySpec
from apprentice_learning.bundles import read_policy, write_policy
from apprentice_learning.data.columns import ArrayColumns, observation_specs
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.networks.encoders import Gray32Encoder
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.policies import DeterministicPolicy, TanhGaussianPolicy
from apprentice_learning.networks.vector_input import VectorInput
from apprentice_learning.runner import PolicyRunner
from apprentice_learning.trainer import Trainer
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

SPECS = (
    ArraySpec("tool/pose", (7,)), ArraySpec("wrist/wrench", (6,)), ArraySpec("goal/position", (3,)),
    ArraySpec("camera/side", (64, 64, 3), "uint8"),
)
SPARSE = NetworkConfig(proprio=("tool/pose[0:3]", "wrist/wrench[2:3]"), proprio_embedding=0, hidden=(8,))
GOAL = NetworkConfig(proprio=("tool/pose[0:3]", "goal/position"), proprio_embedding=0, hidden=(8,))
GRAY = NetworkConfig(cameras=("camera/side",), encoder="gray32", image_reduction=2, hidden=(8,))


def observation(rng) -> dict[str, np.ndarray]:
    return {
        "tool/pose": rng.standard_normal(7).astype(np.float32), "wrist/wrench": rng.standard_normal(6).astype(np.float32),
        "camera/side": rng.integers(0, 255, (64, 64, 3), dtype=np.uint8),
    }


def one(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v.copy())[None] for k, v in arrays.items()}


def context(**fields) -> EpisodeContext:
    return EpisodeContext(**({"episode_id": "01J", "task": "t", "seed": 4} | fields))


def test_the_sparse_setting_reads_position_and_vertical_force_alone():
    """B10: x_t (3) and f_z (1)."""
    encoder, rng = ObservationEncoder(SPECS, SPARSE), np.random.default_rng(0)
    assert encoder.size == 4 and SPARSE.arrays == ("tool/pose", "wrist/wrench")
    seen = observation(rng)
    out = encoder(one(seen))[0]
    np.testing.assert_array_equal(out, [*seen["tool/pose"][:3], seen["wrist/wrench"][2]])
    for name, index in (("tool/pose", 4), ("wrist/wrench", 0), ("wrist/wrench", 5)):
        other = {k: v.copy() for k, v in seen.items()}
        other[name][index] += 1.0
        assert torch.equal(encoder(one(other))[0], out)


@pytest.mark.parametrize(("name", "error", "message"), [
    ("tool/pose[0:8]", ConfigError, r"\[0:8\].*out of range.*7 numbers"), ("tool/posse[0:3]", ConfigError, "no array"),
    ("camera/side[0:3]", ConfigError, "needs a vector"), ("tool/pose[3:3]", ValueError, "takes no number"),
    ("tool/pose[-1:3]", ValueError, "neither"), ("tool/pose[0:3", ValueError, "neither"), ("tool/pose[1]", ValueError, "neither"),
])
def test_wrong_slices_are_refused(name, error, message):
    with pytest.raises(error, match=message):
        ObservationEncoder(SPECS, NetworkConfig(proprio=(name,)))
    assert VectorInput.parse("tool/pose[0:3]") == VectorInput("tool/pose", 0, 3)


def test_gray32_is_the_box_filter_and_the_mean_of_the_channels():
    """Spec 001c section 3.4: 32 x 32 -> 10 x 10 x 16 -> 4 x 4 x 32 -> 2 x 2 x 64."""
    encoder, shapes = Gray32Encoder(32, 32), []
    for layer in encoder.body:
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    seen = []
    encoder.body.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    image = observation(np.random.default_rng(0))["camera/side"]
    small = box_reduce(image, 2)
    assert encoder(torch.from_numpy(small)[None]).shape == (1, 256)
    assert shapes == [(16, 10, 10), (32, 4, 4), (64, 2, 2)]
    np.testing.assert_allclose(seen[0][0, 0], small.astype(np.float64).mean(-1) / 255 - 0.5, atol=1e-6)
    whole = ObservationEncoder(SPECS, GRAY)
    assert torch.equal(whole({"camera/side": torch.from_numpy(image)[None]}), whole({"camera/side": torch.from_numpy(small)[None]}))
    with pytest.raises(ConfigError, match="32 x 32"):
        ObservationEncoder(SPECS, GRAY.model_copy(update={"image_reduction": 1}))


def test_the_visual_setting_sees_pixels_only():
    """B7: nothing of the state leaks into what the policy is given."""
    policy, rng = TanhGaussianPolicy(SPECS, 3, GRAY), np.random.default_rng(0)
    assert policy.inputs == ("camera/side",)
    read = []
    policy.head.register_forward_pre_hook(lambda _, args: read.append(args[0].clone()))
    a = observation(rng)
    b = observation(rng) | {"camera/side": a["camera/side"]}
    policy(one(a))
    policy(one(b))
    assert read[0].shape == (1, 256) and torch.equal(*read)


# ---- the runner ----

def bundle(folder, policy):
    write_policy(folder, policy, name="p", algorithm="x")
    return folder


def test_goals_come_from_the_segment(tmp_path):
    policy = DeterministicPolicy(SPECS, 3, GOAL)
    runner, rng = PolicyRunner(bundle(tmp_path / "b", policy)), np.random.default_rng(0)
    runner.check(tuple(s for s in SPECS if not s.name.startswith("goal/")))
    runner.reset(context())
    seen, goal = observation(rng), np.array([0.1, 0.2, 0.3], np.float32)
    answer = runner.act(seen, Segment(goal={"position": goal}))
    with torch.no_grad():
        expected = policy.eval()(one(seen | {"goal/position": goal}))[0].numpy()
    np.testing.assert_array_equal(answer.values, expected)
    assert not np.array_equal(answer.values, runner.act(seen, Segment(goal={"position": goal + 1})).values)
    # An observation that calls itself a goal is none.
    with pytest.raises(ValueError, match="the segment has no goal goal/position"):
        runner.act(seen | {"goal/position": goal}, Segment())
    with pytest.raises(ValueError, match="goal/position: float64"):
        runner.act(seen, Segment(goal={"position": goal.astype(np.float64)}))


def test_sac_acts_by_its_mean_and_samples_in_noise(tmp_path):
    torch.manual_seed(0)
    policy = TanhGaussianPolicy(SPECS, 3, SPARSE)
    runner, rng = PolicyRunner(bundle(tmp_path / "b", policy)), np.random.default_rng(0)
    seen = observation(rng)
    with torch.no_grad():
        mean, log_std = policy.eval().head.spread(policy.encoder(one(seen)))
    runner.reset(context())
    answer = runner.act(seen, Segment())
    np.testing.assert_allclose(answer.values, torch.tanh(mean)[0], atol=1e-6)
    assert answer.noise is None
    runner.reset(context(deterministic=False))
    answers = [runner.act(seen, Segment()) for _ in range(2000)]
    drawn = np.stack([a.values + a.noise for a in answers])
    assert np.abs(drawn).max() <= 1 + 1e-6 and all(np.array_equal(a.values, answer.values) for a in answers)
    pre = np.arctanh(np.clip(drawn, -1 + 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(pre.mean(0), mean[0], atol=0.1 * float(log_std.exp().max()))
    np.testing.assert_allclose(pre.std(0), log_std.exp()[0], rtol=0.1)
    runner.reset(context(deterministic=False))
    np.testing.assert_array_equal(runner.act(seen, Segment()).noise, answers[0].noise)


def test_td3_is_deterministic_and_explores_only_when_told(tmp_path):
    runner, seen = PolicyRunner(bundle(tmp_path / "b", DeterministicPolicy(SPECS, 3, SPARSE))), observation(np.random.default_rng(0))
    runner.reset(context(deterministic=False))
    assert not runner.act(seen, Segment()).noise.any()
    runner.reset(context(metadata={"exploration_noise": 0.1}))
    assert np.std([runner.act(seen, Segment()).noise for _ in range(500)], axis=0) == pytest.approx([0.1] * 3, rel=0.2)
    runner.reset(context(metadata={"exploration": "uniform"}))
    drawn = [runner.act(seen, Segment()) for _ in range(500)]
    total = np.stack([a.values + a.noise for a in drawn])
    assert np.abs(total).max() <= 1 + 1e-6 and total.std(0) == pytest.approx([0.577] * 3, rel=0.1)


@pytest.mark.parametrize("poison", ["mean", "spread"])
def test_a_network_that_says_nan_gives_nothing(poison, tmp_path):
    """X3: no residual and a fault, whether the mean or only the spread is broken."""
    policy = TanhGaussianPolicy(SPECS, 3, SPARSE)
    with torch.no_grad():
        policy.head.body[-1].bias[0 if poison == "mean" else 4] = float("nan")
    runner = PolicyRunner(bundle(tmp_path / "b", policy))
    runner.reset(context(deterministic=False))
    answer = runner.act(observation(np.random.default_rng(0)), Segment())
    assert answer.fault == "nan" and not answer.values.any() and answer.noise is None


@pytest.mark.parametrize("kind", [DeterministicPolicy, TanhGaussianPolicy])
def test_bundles_rebuild_the_same_policy(kind, tmp_path):
    policy, seen = kind(SPECS, 3, GRAY).eval(), one(observation(np.random.default_rng(0)))
    _, again, _ = read_policy(bundle(tmp_path / "b", policy))
    assert type(again) is kind and torch.equal(again(seen), policy(seen))
    path = bundle(tmp_path / "s", kind(SPECS, 3, SPARSE)) / "bundle.json"
    path.write_text(path.read_text().replace("tool/pose[0:3]", "tool/pose[0:30]"))
    with pytest.raises(BundleError, match=r"tool/pose\[0:30\].*out of range"):
        read_policy(path.parent)


# ---- recorded data ----

def test_goals_of_recorded_bags(tmp_path):
    with Store(tmp_path) as store:
        made = [make_episode(store, steps=5, seed=s) for s in range(2)]  # the goal changes with step 3
        store.trim(made[0].episode_id, 2, 4)
        columns = StoreColumns.open(store, "", ("tool/pose", "goal/position"))
        assert columns.columns["goal/position"][:, 0].tolist() == [0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
        with pytest.raises(ApprenticeError, match="goal/depth: not every segment"):
            StoreColumns.open(store, "", ("tool/pose", "goal/depth"))


def test_goals_and_slices_in_recorded_data(episodes, tmp_path, train_config):
    """Columns lay each segment's goal beside its steps; a learner trains on them, normalised over the slice alone."""
    made = []
    for i, e in enumerate(episodes):
        half = len(e) // 2
        segments = [Segment(index=k, goal={"position": np.full(3, 10 * i + k, np.float32)}) for k in range(2)]
        index = (np.arange(len(e)) >= half).astype(np.int32)
        made.append(type(e)(**(vars(e) | {"segments": segments, "segment_index": index})))
    columns = ArrayColumns.from_episodes(made)
    goals = columns.columns["goal/position"]
    for i, start in enumerate(columns.episode_starts[:-1]):
        n = len(made[i])
        assert goals[start : start + n + 1, 0].tolist() == [10 * i] * (n // 2) + [10 * i + 1] * (n - n // 2 + 1)
    assert ArraySpec("goal/position", (3,)) in observation_specs(columns)
    network = {"proprio": ["tool/pose[1:3]", "goal/position"], "proprio_embedding": 0, "hidden": [8]}
    trainer = Trainer(train_config("td3", network=network), columns, tmp_path)
    branch = trainer.learner.policy().encoder.branch
    assert branch.size == 5 and branch.normaliser.mean[2:].min() > 1
    assert np.isfinite(trainer.run().metrics["train/critic_loss"])
