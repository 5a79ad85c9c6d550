"""IQL on split latents, offline and online with its own reward (spec 001c sections 4.4, 4.5)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from connector_images import REACH, STEPS, draw, make_data

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_learning.algorithms.iql import ROLES, IQLConfig
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.online.journal import Entry
from apprentice_learning.representations import evaluation, fine_tuning, offline_rl, on_the_job
from apprentice_learning.representations.config import AdversaryConfig, RepresentationConfig, SplitConfig
from apprentice_learning.representations.dataset import CAMERA, SUCCESS, TrainingSet
from apprentice_learning.representations.fine_tuning import FineTuner, FineTuningConfig
from apprentice_learning.representations.heads import DOMAIN, stored_name
from apprentice_learning.representations.offline_rl import OfflineRLConfig, OfflineTrainer, feature_batch, write_offline_policy
from apprentice_learning.representations.on_the_job import WRENCH, fine_tune
from apprentice_learning.representations.registry import ConnectorRegistry
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm
from apprentice_learning.runner import PolicyRunner

FREE = ConnectorRegistry()
SMALL = RepresentationConfig(channels=(8, 16))


@pytest.fixture(scope="module")
def training():
    return TrainingSet(make_data(4, 3), FREE)


def config(**changes) -> OfflineRLConfig:
    return OfflineRLConfig(**{"representation": SMALL, "batch": 16, "steps": 20, "hidden": (32, 32), **changes})


def darkness(frames: np.ndarray) -> np.ndarray:
    return (frames.mean((1, 2, 3)) / 255).astype(np.float32)


@pytest.fixture(scope="module")
def offline(training):
    trainer = OfflineTrainer(config(), training)
    trainer.run(3)
    return {k: v.clone() for k, v in trainer.state().items()}


@pytest.fixture
def tuner(training, offline):
    trainer = OfflineTrainer(config(), training)
    trainer.load_state(offline)
    return FineTuner(FineTuningConfig(batch=16, copies=2), trainer.learner, training, darkness)


def own(trainer: OfflineTrainer, role: str) -> torch.nn.Module:
    return trainer.learner.encoders()[role]


def test_every_network_has_its_own_encoder_and_its_own_loss(training):
    trainer = OfflineTrainer(config(), training)
    encoders = trainer.learner.encoders()
    assert set(encoders) == set(ROLES) and len({id(p) for e in encoders.values() for p in e.parameters()}) == sum(
        len(list(e.parameters())) for e in encoders.values()
    )
    metrics = trainer.update()
    assert {f"{r}/{k}" for r in ROLES for k in ("kl", "domain_loss")} <= set(metrics)
    assert not any(k.endswith("/extra") for k in metrics)


@pytest.mark.parametrize("role", ROLES)
def test_flags_of_one_head_do_not_touch_the_others(training, role):
    trainer = OfflineTrainer(config(**{role: "erm"}), training)
    metrics = trainer.update()
    assert f"{role}/domain_loss" not in metrics and metrics[f"{role}/kl"] == 0
    for other in set(ROLES) - {role}:
        assert f"{other}/domain_loss" in metrics and metrics[f"{other}/kl"] > 0
    assert f"{role}_representation" not in trainer.learner.modules


def test_loss_58_is_the_policy_loss_plus_that_of_its_own_latent(training):
    """Each network steps on its own loss plus L_DAIB of its own latent, once; the policy's latent has no chance in it here, so that its
    domain loss can be computed beside."""
    heavy = SMALL.model_copy(update={"kl_weight": 0.5, "kl_warmup": 0.0, "dropout": 0.0})
    trainer = OfflineTrainer(config(representation=heavy, policy="dann", augment=False), training)
    learner, batch = trainer.learner, trainer.batch()
    learner.steps = 20  # the end of the ramp
    seen = {}

    def keep(name, loss):
        seen[name] = loss
        type(learner)._step(learner, name, loss)

    learner._step = keep
    _, latents = learner.actor.encoder.encode(batch.observation)
    domain = torch.nn.functional.cross_entropy(learner.extra["policy"].classifier(latents[0].invariant), batch.observation[DOMAIN])
    metrics = learner.update(batch)
    assert seen["policy"].item() == pytest.approx((metrics["policy_loss"] + domain).item(), rel=1e-4)
    assert seen["value"].item() == pytest.approx(
        (metrics["value_loss"] + metrics["value/domain_loss"] + 0.5 * metrics["value/kl"]).item(), rel=1e-4
    )
    assert seen["critic"].item() == pytest.approx(
        (metrics["critic_loss"] + metrics["critic/domain_loss"] + 0.5 * metrics["critic/kl"]).item(), rel=1e-4
    )


def test_policy_loss_falls_as_a_praised_action_gains_likelihood(training):
    trainer = OfflineTrainer(config(policy="erm", augment=False), training)
    learner, batch = trainer.learner, trainer.batch()
    learner.set_phase("policy")

    def likelihood() -> float:
        with torch.no_grad():
            return learner.actor.head.log_prob(learner.actor(batch.observation), batch.action).mean().item()

    first = likelihood()
    losses = [learner.update(batch)["policy_loss"].item() for _ in range(15)]
    assert losses[-1] < losses[0] and likelihood() > first


def test_kl_weight_and_temperature_have_names_of_their_own():
    assert "beta" not in IQLConfig.model_fields and "beta" not in RepresentationConfig.model_fields
    assert IQLConfig().awr_inv_temp == OfflineRLConfig().awr_inv_temp == 3.0 and RepresentationConfig().kl_weight == 1e-3


def test_split_encoder_needs_its_settings(training):
    with pytest.raises(ValueError, match="split"):
        NetworkConfig(cameras=(CAMERA,), encoder="split")
    with pytest.raises(ValueError, match="split"):
        NetworkConfig(cameras=(CAMERA,), split=SplitConfig())
    learner = config().learner(training)
    with pytest.raises(ConfigError, match="representation"):
        type(learner)(learner.actor.specs, 3, learner.actor.config, IQLConfig())


def test_shared_encoder_is_one_and_learns_from_the_policy_alone(training):
    trainer = OfflineTrainer(config(shared_encoder=True), training)
    assert set(trainer.learner.encoders()) == {"policy"} and set(trainer.learner.extra) == {"policy"}
    metrics = trainer.update()
    assert "policy/domain_loss" in metrics and "value/domain_loss" not in metrics
    tuner = FineTuner(FineTuningConfig(batch=8, copies=1), trainer.learner, training, darkness)
    tuner.learn(training.data.frames[:5], training.data.action[:4])
    assert tuner.step == 4


def test_encoders_stand_still_online_and_the_heads_learn(tuner, training):
    learner = tuner.learner
    encoders = {r: {k: v.clone() for k, v in e.state_dict().items()} for r, e in learner.encoders().items()}
    target = {k: v.clone() for k, v in learner.target.state_dict().items()}
    heads = [p.clone() for p in learner.actor.head.parameters()]
    tuner.add(training.data.frames[: STEPS + 1], training.data.action[:STEPS])
    for _ in range(1000):
        tuner.update()
    for role, encoder in learner.encoders().items():
        assert all(torch.equal(encoders[role][k], v) for k, v in encoder.state_dict().items())
    for k, v in learner.target.state_dict().items():
        assert torch.equal(target[k], v) == k.startswith("encoder."), k
        if k.startswith("encoder."):
            assert torch.equal(v, learner.critic.state_dict()[k])
    assert not any(torch.equal(a, b) for a, b in zip(heads, learner.actor.head.parameters(), strict=True))


def test_stored_features_train_as_the_frames_themselves(training, offline):
    """One update on features of unaugmented frames against one on these frames, both with frozen encoders."""
    results = []
    for stored in (True, False):
        trainer = OfflineTrainer(config(), training)
        trainer.load_state(offline)
        tuner = FineTuner(FineTuningConfig(batch=16, copies=0), trainer.learner, training, darkness)
        steps = training.steps[np.random.default_rng(3).integers(0, len(training.steps), 16)]
        if stored:
            roles = list(tuner.bank.features)
            part = {"action": training.data.action[steps], "reward": training.data.success[steps + 1].astype(np.float32)}
            for role in roles:
                rows = np.searchsorted(training.rows, steps)
                part |= {f"now/{role}": tuner.bank.features[role][0, rows], f"next/{role}": tuner.bank.features[role][0, rows + 1]}
            batch = feature_batch([part], roles)
            assert set(batch.observation) == {stored_name(r) for r in ROLES}
        else:
            frames = torch.from_numpy(training.data.frames)
            reward = torch.from_numpy(training.data.success[steps + 1].astype(np.float32))
            batch = type(trainer.batch())(
                {CAMERA: frames[steps]}, torch.from_numpy(training.data.action[steps]), reward, torch.ones(16), {CAMERA: frames[steps + 1]}
            )
        metrics = trainer.learner.update(batch)
        results.append({k: v.item() for k, v in metrics.items()})
    assert results[0].keys() == results[1].keys()
    for k, v in results[0].items():
        assert v == pytest.approx(results[1][k], rel=1e-4, abs=1e-6), k


def test_batches_are_a_quarter_online_exactly(training, offline, monkeypatch):
    for size, expected in ((16, {4}), (18, {4, 5})):
        trainer = OfflineTrainer(config(), training)
        trainer.load_state(offline)
        tuner = FineTuner(FineTuningConfig(batch=size, copies=1), trainer.learner, training, darkness)
        tuner.add(training.data.frames[:5], training.data.action[:4])
        counts = []
        sample = tuner.bank.sample
        monkeypatch.setattr(tuner.bank, "sample", lambda n, g, sample=sample, counts=counts: (counts.append(n), sample(n, g))[1])
        monkeypatch.setattr(tuner.learner, "update", lambda batch, size=size: {} if len(batch) == size else pytest.fail("size"))
        for _ in range(100):
            tuner.update()
        assert {size - n for n in counts} == expected
        assert sum(size - n for n in counts) == 25 * size


def test_online_frames_are_judged_by_r_at_the_next_frame_and_never_augmented(tuner, training, monkeypatch):
    def forbidden(*_: object) -> None:
        raise AssertionError("augmented")

    monkeypatch.setattr(offline_rl, "jitter_and_crop", forbidden)
    with pytest.raises(AssertionError, match="augmented"):  # offline each batch is
        OfflineTrainer(config(), training).batch()
    frames = training.data.frames[:4].copy()
    frames[1], frames[2], frames[3] = 255, 10, 200
    p = tuner.add(frames, training.data.action[:3])
    assert tuner.online["reward"].tolist() == [1.0, 0.0, 1.0] and np.allclose(p, darkness(frames[1:]))
    direct = offline_rl.encode(tuner.learner, frames, CAMERA)
    assert np.array_equal(tuner.online["next/policy"], direct["policy"][1:])
    tuner.update()
    for method in (tuner.add, tuner.learn):
        assert list(inspect.signature(method).parameters) == ["frames", "actions"]  # no way in for the truth
    with pytest.raises(ValueError, match="frames of"):
        tuner.add(frames, training.data.action[:4])


def test_probability_as_reward_and_a_broken_model(training, offline):
    trainer = OfflineTrainer(config(), training)
    trainer.load_state(offline)
    tuner = FineTuner(FineTuningConfig(batch=8, copies=1, reward="prob"), trainer.learner, training, darkness)
    with pytest.raises(ApprenticeError, match="no online episode"):
        tuner.update()
    p = tuner.add(training.data.frames[:3], training.data.action[:2])
    assert np.array_equal(tuner.online["reward"], p)
    tuner.probability = lambda frames: np.full(len(frames), np.nan, dtype=np.float32)
    with pytest.raises(ApprenticeError, match="no finite number"):
        tuner.add(training.data.frames[:3], training.data.action[:2])
    assert len(tuner) == 2


def test_noise_comes_on_top_of_the_mean_when_exploring_only(tuner, training):
    image = training.data.frames[0]
    mean, noise = tuner.act(image, explore=False)
    again, _ = tuner.act(image, explore=False)
    assert np.array_equal(mean, again) and not noise.any()
    draws = np.array([tuner.act(image, explore=True)[1] for _ in range(300)])
    assert np.array_equal(tuner.act(image, explore=True)[0], mean)
    assert draws.std() == pytest.approx(0.03, rel=0.15)


def test_offline_training_goes_on_to_the_same_weights(training, tmp_path):
    whole, part, resumed = (OfflineTrainer(config(steps=6), training) for _ in range(3))
    torch.manual_seed(9)
    whole.train()
    torch.manual_seed(9)
    part.run(4, tmp_path)
    assert resumed.resume(tmp_path) and resumed.step == 4
    resumed.train(tmp_path)
    assert all(torch.equal(v, resumed.state()[k]) for k, v in whole.state().items())
    with pytest.raises(ApprenticeError, match="another config"):
        OfflineTrainer(config(steps=6, critic="vib"), training).resume(tmp_path)


def test_adversaries_that_keep_up_train_in_every_head_and_go_on_to_the_same_weights(training, tmp_path):
    strong = SMALL.model_copy(update={"normalise": True, "adversary": AdversaryConfig(updates=2, memory=32, batch=16)})
    whole, part, resumed = (OfflineTrainer(config(steps=4, representation=strong), training) for _ in range(3))
    for trainer, steps in ((whole, 4), (part, 2)):
        torch.manual_seed(9)
        trainer.run(steps, tmp_path if trainer is part else None)
    assert {f"{r}_adversary" for r in ROLES} <= set(whole.learner.optimisers)
    assert resumed.resume(tmp_path)
    resumed.run(4)
    assert all(torch.equal(v, resumed.state()[k]) for k, v in whole.state().items())


def test_fine_tuning_goes_on_to_the_same_weights(training, offline, tmp_path):
    def fresh() -> FineTuner:
        trainer = OfflineTrainer(config(), training)
        trainer.load_state(offline)
        return FineTuner(FineTuningConfig(batch=18, copies=1), trainer.learner, training, darkness)

    frames, actions = training.data.frames[: STEPS + 1], training.data.action[:STEPS]
    whole, part, resumed = fresh(), fresh(), fresh()
    for tuner in (whole, part):
        for _ in range(STEPS):
            tuner.act(frames[0], explore=True)
        tuner.learn(frames, actions)
    part.save(tmp_path)
    assert resumed.resume(tmp_path) and (resumed.step, len(resumed)) == (STEPS, STEPS)
    for tuner in (whole, resumed):
        tuner.learn(frames[::-1].copy(), actions)
    assert all(torch.equal(v, resumed.state()[k]) for k, v in whole.state().items())
    assert np.array_equal(whole.act(frames[0], True)[1], resumed.act(frames[0], True)[1])


def test_policy_bundle_acts_as_the_learner(training, offline, tmp_path):
    trainer = OfflineTrainer(config(), training)
    trainer.load_state(offline)
    write_offline_policy(tmp_path / "p", trainer, "insertion")
    runner = PolicyRunner(tmp_path / "p")
    runner.reset(EpisodeContext("0", "insertion"))
    image = training.data.frames[0]
    with torch.no_grad():
        mean = trainer.learner.policy().eval()({CAMERA: torch.from_numpy(image)[None]})[0].numpy()
    assert np.allclose(runner.act({CAMERA: image}, Segment()).values, mean, atol=1e-6)


@dataclass
class Steps:
    observations: dict
    actions: dict
    rewards: dict
    episode_id: str = "made up"

    def __len__(self) -> int:
        return STEPS


def committed(frames: np.ndarray, actions: np.ndarray, touched: bool = False) -> Steps:
    wrench = np.full((len(frames), 6), 3.0 * touched, dtype=np.float32)
    return Steps({CAMERA: frames, WRENCH: wrench}, {"executed": actions}, {SUCCESS: np.zeros(STEPS, dtype=np.float32)})


class Listed:
    """A journal of made-up episodes."""

    def __init__(self, *entries: Entry):
        self.entries = list(entries)

    @property
    def position(self) -> int:
        return self.entries[-1].position

    def after(self, position, names=None):
        return (e for e in list(self.entries) if e.position > position)


def two_of_three(training: TrainingSet) -> Listed:
    episode = committed(training.data.frames[: STEPS + 1], training.data.action[:STEPS])
    return Listed(Entry(1, "a", episode), Entry(2, "b", None, "torn"), Entry(5, "c", episode))


def test_committed_episodes_are_taken_once_also_after_a_kill(training, offline, tmp_path):
    journal = two_of_three(training)

    def fresh() -> FineTuner:
        trainer = OfflineTrainer(config(), training)
        trainer.load_state(offline)
        return FineTuner(FineTuningConfig(batch=8, copies=1), trainer.learner, training, darkness)

    tuner = fresh()
    assert (tuner.follow(journal), tuner.follow(journal), len(tuner), tuner.step) == (2, 0, 2 * STEPS, 2 * STEPS)
    tuner.save(tmp_path)
    killed = fresh()
    assert killed.resume(tmp_path) and killed.follow(journal) == 0 and len(killed) == 2 * STEPS
    other = OfflineTrainer(config(seed=5), training)
    with pytest.raises(ApprenticeError, match="frozen encoders are not the learner's"):
        FineTuner(FineTuningConfig(batch=8, copies=1), other.learner, training, darkness).resume(tmp_path)
    killed.write_policy(tmp_path / "p", "insertion")
    assert PolicyRunner(tmp_path / "p", exploration_noise=0.03).manifest.lineage["transitions"] == 2 * STEPS


def drawn_trial(act, seed: int) -> Steps:
    """A plug that goes where it is told and never comes in."""
    noise = np.random.default_rng(seed)
    offset, frames, actions = noise.uniform(-REACH, REACH, 2), [], []
    for t in range(STEPS + 1):
        frames.append(draw(offset, 0.5, np.random.default_rng(1), noise))
        if t < STEPS:
            mean, extra = act(frames[-1])
            actions.append(np.clip(mean + extra, -1, 1))
            offset = np.clip(offset - 0.01 * actions[-1][:2], -REACH, REACH)
    return committed(np.stack(frames), np.array(actions, dtype=np.float32), touched=seed >= 2)


def driver(journal: Listed):
    """Trials that commit into `journal`, at positions with holes, as a store's are."""
    def run(act, i: int) -> None:
        journal.entries.append(Entry(3 * len(journal.entries) + 1, f"trial {i}", drawn_trial(act, i)))

    return run


def failing_test(act, i: int, phase: str) -> bool:
    drawn_trial(act, i)
    return False


def test_a_reward_that_praises_failures_stops_the_practice(tuner):
    """An artificial false-positive region: this R takes every frame for success (C42)."""
    tuner.probability = lambda frames: np.full(len(frames), 0.9, dtype=np.float32)
    journal = Listed()
    report = fine_tune(tuner, journal, driver(journal), failing_test, trials=30, test_trials=2, alarm=ExploitationAlarm(trials=4))
    assert report.stopped and report.trials == 4 and report.transitions == 4 * STEPS and report.first_contact == 3
    found = report.as_dict()
    assert found["confusion"]["false_positives"] == 4 * STEPS and found["online"]["successes"] == 0
    assert tuner.step == 4 * STEPS


def test_arms_of_the_ablation_differ_in_their_methods_and_go_on_from_their_checkpoints(training, tmp_path, monkeypatch):
    monkeypatch.setitem(on_the_job.RL_PRESETS, "small", config(steps=2))
    tiny = {"batch": 8, "steps": 2, "representation": {"channels": (8, 16)}}
    monkeypatch.setitem(evaluation.PRESETS, "small", tiny)
    methods = {}
    for arm in on_the_job.ABLATION:
        reward, policy = on_the_job.train_arm(arm, training, 0, folder=tmp_path / arm)
        methods[arm] = reward.config.representation.method, policy.config.policy, policy.config.value, policy.config.critic
        assert (reward.step, policy.step) == (2, 2)
    assert methods == {
        "daib_daib": ("daib",) * 4, "daib_erm": ("daib", "erm", "erm", "erm"), "erm_erm": ("erm",) * 4,
    }
    monkeypatch.setattr(OfflineTrainer, "update", lambda self: pytest.fail("trained again"))
    on_the_job.train_arm("erm_erm", training, 0, folder=tmp_path / "erm_erm")
    with pytest.raises(ApprenticeError, match="no arm"):
        on_the_job.train_arm("vib_vib", training, 0)


def test_an_honest_reward_lets_practice_go_on_within_its_budget(tuner):
    tuner.probability = lambda frames: np.zeros(len(frames), dtype=np.float32)
    journal = Listed()
    report = fine_tune(tuner, journal, driver(journal), failing_test, trials=3, test_trials=1, alarm=ExploitationAlarm(trials=1))
    assert not report.stopped and report.trials == 3 and fine_tuning.THRESHOLD == 0.5


def test_practice_that_was_cut_off_goes_on_to_the_same_weights_from_its_journal(training, offline, tmp_path, monkeypatch):
    """Cut off in the middle of its fourth trial, behind a checkpoint at its second."""
    monkeypatch.setattr(on_the_job, "CHECKPOINT", 2)

    def fresh() -> FineTuner:
        trainer = OfflineTrainer(config(), training)
        trainer.load_state(offline)
        return FineTuner(FineTuningConfig(batch=16, copies=1), trainer.learner, training, darkness)

    whole, cut, again = fresh(), fresh(), fresh()
    journals = Listed(), Listed()
    first = fine_tune(whole, journals[0], driver(journals[0]), failing_test, 6, 1)
    run = driver(journals[1])

    def breaks(act, i: int) -> None:
        if i == 3:
            act(training.data.frames[0])
            raise OSError("no more current")
        run(act, i)

    with pytest.raises(OSError):
        fine_tune(cut, journals[1], breaks, failing_test, 6, 1, folder=tmp_path)
    assert len(journals[1].entries) == 3
    learned = []
    learn = again.learn
    monkeypatch.setattr(again, "learn", lambda *a: (learned.append(1), learn(*a))[1])
    second = fine_tune(again, journals[1], run, failing_test, 6, 1, folder=tmp_path)
    assert first == second and second.transitions == 6 * STEPS and len(learned) == 4, "two of six are in the checkpoint"
    for a, b in zip(*(j.entries for j in journals), strict=True):
        np.testing.assert_array_equal(a.episode.observations[CAMERA], b.episode.observations[CAMERA])
    assert all(torch.equal(v, again.state()[k]) for k, v in whole.state().items())


def test_a_trial_that_left_no_episode_ends_practice(tuner):
    with pytest.raises(ApprenticeError, match="trial 1 was driven"):
        fine_tune(tuner, Listed(), lambda act, i: None, failing_test, 3, 1)
