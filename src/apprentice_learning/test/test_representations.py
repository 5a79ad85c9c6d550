"""Losses 51-54 of spec 001c, the split encoder, and models of frames."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from connector_images import make_data
from torch.nn import functional

from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.reward import RewardBatch, RewardSource
from apprentice_learning.data.augmentation import JitterConfig, jitter_and_crop
from apprentice_learning.representations import preprocessing
from apprentice_learning.representations.config import METHOD_NAMES, AdversaryConfig, RepresentationConfig, SplitConfig
from apprentice_learning.representations.dataset import CAMERA, TrainingSet
from apprentice_learning.representations.evaluation import held_out_accuracy, latents, probe_domains, reward_accuracy
from apprentice_learning.representations.frame_models import (
    BalancedRows,
    FrameModelConfig,
    LocaliserTrainer,
    RewardTrainer,
    SocketLocaliser,
    predict,
    write_frame_model,
)
from apprentice_learning.representations.losses import NO_DOMAIN, RepresentationLoss, domain_probe
from apprentice_learning.representations.probe import probe_report
from apprentice_learning.representations.registry import ConnectorRegistry
from apprentice_learning.representations.split import Latent, SplitEncoder, reverse_gradient
from apprentice_learning.rewards.classifier_reward import ClassifierReward

CHANNELS = (8, 16)
FREE = ConnectorRegistry()


@pytest.fixture(scope="module")
def data():
    return make_data()


def config(method: str = "daib", steps: int = 60, **changes) -> FrameModelConfig:
    fields = {"batch": 32, "learning_rate": 2e-3, "steps": steps, **changes}
    return FrameModelConfig(representation=fields.pop("representation", RepresentationConfig(method=method, channels=CHANNELS)), **fields)


def images(n: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def parts(method: str, domains: int = 4, steps: int = 100, **changes):
    torch.manual_seed(0)
    settings = RepresentationConfig(method=method, channels=CHANNELS, dropout=0.0, **changes)
    return SplitEncoder(32, 32, settings.split), RepresentationLoss(settings.split.invariant, domains, settings, steps), settings


def test_reversed_gradient_is_the_negative_scaled():
    x = torch.randn(5, requires_grad=True)
    (3.0 * reverse_gradient(x, 0.25)).sum().backward()
    assert torch.equal(x.grad, torch.full((5,), -0.75))


def test_domain_loss_reaches_the_classifier_plainly_and_the_encoder_reversed_once():
    encoder, loss, settings = parts("daib", kl_weight=0.0)
    domain = torch.arange(8) % 4
    step = 50  # half of the ramp
    lam = 2 / (1 + math.exp(-10 * 0.5)) - 1
    total, _ = loss([encoder.eval().latent(images())], domain, step)
    ours = torch.autograd.grad(total, [*encoder.body.parameters(), *loss.classifier.parameters()], allow_unused=True)
    z = encoder.latent(images())
    plain = functional.cross_entropy(loss.classifier(z.invariant), domain)
    theirs = torch.autograd.grad(plain, [*encoder.body.parameters(), *loss.classifier.parameters()])
    of_encoder = len(list(encoder.body.parameters()))
    assert settings.adv_weight == 1.0
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.allclose(a, -lam * b if i < of_encoder else b, atol=1e-7), i
    assert total.item() == pytest.approx(plain.item())  # added, not subtracted


def test_a_step_of_each_does_what_the_game_says():
    """The classifier's own step makes it better; the encoder's step makes it worse."""
    encoder, loss, _ = parts("dann", steps=1)
    encoder.eval()
    domain = torch.arange(8) % 4

    def domain_loss() -> float:
        with torch.no_grad():
            return functional.cross_entropy(loss.classifier(encoder.latent(images()).invariant), domain).item()

    before = domain_loss()
    total, _ = loss([encoder.latent(images())], domain, 1)
    total.backward()
    saved = {k: v.clone() for k, v in loss.state_dict().items()}
    torch.optim.SGD(loss.parameters(), 0.05).step()
    assert domain_loss() < before
    loss.load_state_dict(saved)
    torch.optim.SGD(encoder.parameters(), 0.05).step()
    assert domain_loss() > before


def test_kl_is_the_closed_form_and_of_the_specific_part_alone():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    normal = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
    invariant = torch.randn(6, 4, requires_grad=True)
    latent = Latent(invariant, mean, log_variance, mean)
    assert latent.kl().item() == pytest.approx(expected.item(), rel=1e-5)
    assert not latent.kl().requires_grad


@pytest.mark.parametrize(("method", "sizes", "adversary", "gaussian"), [
    ("erm", (80, 0), False, False), ("vib", (0, 80), False, True), ("dann", (80, 0), True, False),
    ("daib", (64, 16), True, True), ("daib_lambda0", (64, 16), True, False),
])
def test_methods_are_flags_of_one_path(method, sizes, adversary, gaussian):
    encoder, loss, _ = parts(method)
    z = encoder.train().latent(images())
    assert (z.invariant.shape[1], z.mean.shape[1]) == sizes
    assert (loss.classifier is not None, z.log_variance is not None) == (adversary, gaussian)
    again = encoder.latent(images())
    assert torch.equal(z.invariant, again.invariant)  # deterministic
    assert torch.equal(z.z, again.z) != gaussian
    with torch.no_grad():
        assert torch.equal(encoder.latent(images()).specific, z.mean)  # targets read the mean
    encoder.eval()
    assert torch.equal(encoder.latent(images()).specific, z.mean)
    total, said = loss([z], torch.arange(8) % 4, 100)
    assert ("domain_loss" in said, said["kl"].item() > 0) == (adversary, gaussian)
    assert (total.item() == 0.0) == (method == "erm")


def test_ramp_and_warm_up():
    _, loss, _ = parts("daib", kl_weight=2.0, kl_warmup=0.5)
    assert [loss.lambda_adv(s) for s in (0, 10, 100, 500)] == pytest.approx([0.0, 2 / (1 + math.exp(-1)) - 1, 0.99991, 0.99991], abs=1e-4)
    assert [loss.kl_weight(s) for s in (0, 25, 50, 100)] == pytest.approx([0.0, 1.0, 2.0, 2.0])


def test_a_frame_without_a_domain_is_left_out_of_the_game():
    encoder, loss, _ = parts("daib", kl_weight=0.0)
    z = encoder.eval().latent(images())
    domain = torch.tensor([0, 1, 2, 3, *[NO_DOMAIN] * 4])
    known = Latent(z.invariant[:4], z.mean[:4], z.log_variance[:4], z.specific[:4])
    assert loss([z], domain, 5)[0].item() == pytest.approx(loss([known], domain[:4], 5)[0].item())
    assert loss([z], torch.full((8,), NO_DOMAIN), 5)[0].item() == 0.0


def test_an_adversary_of_one_domain_is_refused():
    with pytest.raises(ValueError, match="at least two domains"):
        parts("dann", domains=1)


def test_heavy_kl_weight_empties_the_specific_part(data):
    training = TrainingSet(data, FREE)
    light, heavy = (
        RewardTrainer(config(representation=RepresentationConfig(channels=CHANNELS, kl_weight=w, kl_warmup=0.0), steps=80), training)
        for w in (1e-6, 30.0)
    )
    found = {}
    for name, trainer in (("light", light), ("heavy", heavy)):
        trainer.train()
        trainer.network.train()
        with torch.enable_grad():
            found[name] = trainer.network.encoder.encode({CAMERA: torch.from_numpy(data.frames[:64])})[1][0].kl().item()
    assert found["heavy"] < 0.1 < found["light"]


def test_the_adversary_keeps_the_classifier_at_chance_where_a_plain_encoder_shows_domains(data):
    """Colours tell the domain at a glance: F_psi finds it in a latent that nobody hides, and not in one that is trained against it."""
    training = TrainingSet(data, FREE)
    quiet = RepresentationConfig(method="dann", channels=CHANNELS, adv_weight=0.0)
    shown, hidden = (
        RewardTrainer(config(representation=r, steps=120, learning_rate=1e-3, augment=False), training)
        for r in (quiet, quiet.model_copy(update={"adv_weight": 0.1}))
    )
    found = {name: trainer.train() for name, trainer in (("shown", shown), ("hidden", hidden))}
    assert found["shown"]["domain_accuracy"] > found["hidden"]["domain_accuracy"] + 0.2
    assert found["hidden"]["domain_loss"] > found["shown"]["domain_loss"] + 0.4
    assert found["hidden"]["accuracy"] > 0.8
    assert probe_domains(shown)[0] > 0.9


def test_probe_tells_noise_from_a_label():
    torch.manual_seed(0)
    domain = torch.arange(400) % 4
    noise = torch.randn(400, 5)
    accuracy, chance = domain_probe(noise, domain)
    assert accuracy < chance + 0.1
    assert domain_probe(torch.cat((noise, functional.one_hot(domain).float()), 1), domain)[0] > 0.98


STRONG = AdversaryConfig(updates=3, memory=64, batch=32)


def test_what_is_off_leaves_descriptions_and_hashes_as_they_were():
    assert not {"normalise", "adversary"} & set(RepresentationConfig().model_dump(mode="json"))
    strong = RepresentationConfig(normalise=True, adversary=STRONG)
    assert RepresentationConfig.model_validate(strong.model_dump(mode="json")) == strong
    assert strong.split.normalise and not RepresentationConfig(method="vib", normalise=True).split.normalise


def test_an_adversary_that_keeps_up_reads_the_latents_and_the_encoder_flees_from_what_it_reads():
    torch.manual_seed(0)
    encoder, loss, _ = parts("dann", adversary=STRONG)
    domain = torch.arange(8) % 4
    latent = encoder.latent(images())
    for _ in range(60):
        loss([Latent(latent.invariant.detach(), latent.mean, None, latent.specific)], domain, 50)
    weights = [p.clone() for p in loss.classifier.parameters()]
    loss.eval()
    total, metrics = loss([latent], domain, 50)
    assert metrics["domain_accuracy"] == 1.0, "nothing else has moved it"
    assert all(torch.equal(a, b) for a, b in zip(weights, loss.classifier.parameters(), strict=True)), "in evaluation it stands still"
    total.backward()
    torch.optim.SGD(encoder.parameters(), 1e-2).step()
    assert loss([encoder.latent(images())], domain, 50)[0] > total
    assert (loss.remembered_domain != NO_DOMAIN).all() and len(loss.remembered) == 64


def test_normalised_latents_cannot_flee_by_their_size():
    encoder = SplitEncoder(32, 32, SplitConfig(channels=CHANNELS, normalise=True))
    with torch.no_grad():
        before = encoder.latent(images()).invariant
        encoder.of_invariant.weight.mul_(100.0)
        encoder.of_invariant.bias.mul_(100.0)
        after = encoder.latent(images()).invariant
    assert torch.allclose(before, after, atol=1e-2) and before.square().mean().item() == pytest.approx(1.0, abs=0.05)


def test_training_with_an_adversary_goes_on_to_the_same_weights(data, tmp_path):
    training = TrainingSet(data, FREE, [f"c{i}" for i in range(4)])
    strong = config("daib", steps=6, representation=RepresentationConfig(channels=CHANNELS, normalise=True, adversary=STRONG))
    whole, part, resumed = (RewardTrainer(strong, training) for _ in range(3))
    for trainer, steps in ((whole, 6), (part, 3)):
        torch.manual_seed(9)
        trainer.run(steps, tmp_path if trainer is part else None)
    assert resumed.resume(tmp_path)
    resumed.run(6)
    assert all(torch.equal(v, resumed.state()[k]) for k, v in whole.state().items())
    assert any(k.startswith("optimiser.adversary") for k in whole.state())


def test_probe_report_tells_a_living_adversary_from_a_dead_one(data):
    """An encoder that has pushed its latents to where no unit of the classifier fires has fooled it, and hides nothing."""
    training = TrainingSet(data, FREE, [f"c{i}" for i in range(4)])
    trainer = RewardTrainer(config("daib", steps=400), training)
    alive = probe_report(trainer, 200)
    assert alive.domains == len(training.domains) and alive.dead < 0.5 and alive.invariant > alive.chance
    with torch.no_grad():
        trainer.extra.classifier[0].bias.fill_(-1e4)
        trainer.extra.classifier[3].bias.fill_(-1.0)
    dead = probe_report(trainer, 200)
    assert dead.dead == 1.0 and dead.adversary <= dead.chance + 0.05 and dead.invariant == alive.invariant
    erm = probe_report(RewardTrainer(config("erm"), training), 200)
    assert math.isnan(erm.specific) and math.isnan(erm.adversary) and erm.invariant > erm.chance


def test_classifier_learns_and_is_deterministic(data):
    training = TrainingSet(data, FREE, [f"c{i}" for i in range(4)])
    a = RewardTrainer(config("erm", steps=100), training)
    a.train()
    report = held_out_accuracy(a.network, data, ["c0", "c1", "c2", "c3"], CAMERA)
    assert np.mean([c.accuracy for c in report]) > 0.9
    assert all(c.frames % 2 == 0 for c in report)
    once = []
    for _ in range(2):
        trainer = RewardTrainer(config("daib"), training)
        trainer.run(2)
        once.append([p.clone() for p in trainer.network.parameters()])
    assert all(torch.equal(x, y) for x, y in zip(*once, strict=True))


def test_rows_are_rebalanced_per_connector():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], (900, 80, 20))
    positive = rng.random(1000) < 0.1
    positive[-2:] = True
    rows = np.arange(1000) + 5
    drawn = BalancedRows(rows, positive, group).sample(6000, np.random.default_rng(1)) - 5
    assert positive[drawn].mean() == 0.5
    for g in range(3):
        mine = group[drawn] == g
        assert mine.mean() == pytest.approx(1 / 3, abs=0.03)
        assert positive[drawn][mine].mean() == pytest.approx(0.5, abs=0.04)
    with pytest.raises(ApprenticeError, match="with success and frames without"):
        BalancedRows(rows, group == 0, group)


def test_interrupted_training_ends_in_the_same_weights(data, tmp_path):
    training = TrainingSet(data, FREE)
    whole = RewardTrainer(config(steps=12), training)
    whole.train()
    part = RewardTrainer(config(steps=12), training)
    part.run(7, tmp_path)
    resumed = RewardTrainer(config(steps=12), training)
    assert resumed.resume(tmp_path) and resumed.step == 7
    resumed.train(tmp_path)
    assert all(torch.equal(x, y) for x, y in zip(whole.network.parameters(), resumed.network.parameters(), strict=True))
    with pytest.raises(ApprenticeError, match="another config or to other data"):
        RewardTrainer(config("vib"), training).resume(tmp_path)
    with pytest.raises(ApprenticeError, match="another config or to other data"):
        RewardTrainer(config(steps=12), TrainingSet(data, FREE, ["c0", "c1"])).resume(tmp_path)


def test_classifier_bundle_serves_the_reward_of_the_next_frame(data, tmp_path):
    trainer = RewardTrainer(config(steps=3), TrainingSet(data, FREE))
    trainer.train()
    bundle_id = write_frame_model(tmp_path / "r", trainer, "insertion")
    source = ClassifierReward(tmp_path / "r")
    assert isinstance(source, RewardSource) and source.model_id == bundle_id and not source.needs_privileged
    frames = data.frames[:6]
    blank = np.zeros_like(frames)
    n = np.zeros(6, dtype=np.int64)
    rewards = source.compute_reward(RewardBatch({CAMERA: blank}, np.zeros((6, 3)), {CAMERA: frames}, n, n))
    p = predict(trainer.network, frames)
    assert np.allclose(rewards["insertion"].probability, p) and np.array_equal(rewards["insertion"].value, (p >= 0.5).astype(np.float32))
    assert np.allclose(rewards["insertion_prob"].value, p)
    assert not rewards["insertion"].terminal.any() and not rewards["insertion"].success.any()
    with pytest.raises(ValueError, match="uint8"):
        source.compute_reward(RewardBatch({}, np.zeros((6, 3)), {CAMERA: frames.astype(np.float32)}, n, n))


def test_other_image_code_is_refused(data, tmp_path, monkeypatch):
    trainer = RewardTrainer(config(steps=1), TrainingSet(data, FREE))
    write_frame_model(tmp_path / "r", trainer, "insertion")
    path = tmp_path / "r" / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["network"]["preprocessing"] = "0" * 16
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="preprocessing"):
        ClassifierReward(tmp_path / "r")
    same = preprocessing.fingerprint()
    preprocessing.fingerprint.cache_clear()
    monkeypatch.setattr(preprocessing, "to_input", lambda image: image.permute(0, 3, 1, 2).float() / 255)
    assert preprocessing.fingerprint() != same
    preprocessing.fingerprint.cache_clear()


def test_localiser_learns_where_the_socket_is(tmp_path):
    data = make_data(2, 30)
    trainer = LocaliserTrainer(config("erm", steps=150, learning_rate=1e-3), TrainingSet(data, FREE))
    trainer.train()
    write_frame_model(tmp_path / "l", trainer, "socket")
    localiser = SocketLocaliser(tmp_path / "l")
    rows = np.array([r for r in range(len(data.frames)) if abs(data.offset[r, 0]) > 0.004])
    errors = np.array([localiser.localise(data.frames[r]) - data.offset[r] for r in rows])
    assert len(rows) > 40 and np.abs(errors[:, 0]).mean() < 0.5 * np.abs(data.offset[rows, 0]).mean()
    with pytest.raises(ValueError, match="reads uint8"):
        localiser.localise(data.frames[0][:16])
    with pytest.raises(BundleError, match="socket_localiser"):
        ClassifierReward(tmp_path / "l")


def test_table_8_runs_every_method_on_one_split(data):
    fields = {"representation": {"channels": CHANNELS}, "steps": 2, "batch": 8}
    table = reward_accuracy(data, FREE, METHOD_NAMES, (0,), train=4, test=2, **fields)
    assert [r["method"] for r in table.rows()] == list(METHOD_NAMES)
    table = reward_accuracy(data, FREE, ("erm",), (0, 1), train=4, test=2, **fields)
    rows = table.rows()
    assert len(rows) == 1 and rows[0]["n"] == 2 and rows[0]["thesis"] == 0.76
    assert all(r["low"] <= r["accuracy"] <= r["high"] for r in rows)
    for report in table.reports:
        assert tuple(c.connector for c in report.connectors) == table.tested[report.seed]
        assert report.accuracy == pytest.approx(np.mean([c.accuracy for c in report.connectors]))
    with pytest.raises(ApprenticeError, match="no preset"):
        reward_accuracy(data, FREE, preset="huge", train=4, test=2)


def test_mean_latents_do_not_depend_on_chance(data):
    trainer = RewardTrainer(config(steps=1), TrainingSet(data, FREE))
    a, b = (latents(trainer.network, data.frames[:5], CAMERA) for _ in range(2))
    assert torch.equal(a.z, b.z)


def test_augmentation_stays_in_its_ranges():
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 180, (32, 32, 32, 3), dtype=np.uint8)
    still = JitterConfig((1, 1), (1, 1), (1, 1), (0, 0), (1, 1), (1, 1))
    assert np.array_equal(jitter_and_crop(frames, np.random.default_rng(0), still), frames)
    bright = jitter_and_crop(frames, np.random.default_rng(0), JitterConfig((1.25, 1.25), (1, 1), (1, 1), (0, 0), (1, 1), (1, 1)))
    assert np.abs(bright.astype(float) - np.minimum(1.25 * frames, 255)).max() <= 1
    grey = np.repeat(frames[..., :1], 3, axis=3)
    turned = jitter_and_crop(grey, np.random.default_rng(0), JitterConfig((1, 1), (1, 1), (0.9, 1.1), (-0.1, 0.1), (1, 1), (1, 1)))
    assert np.abs(turned.astype(int) - grey).max() <= 1  # grey has neither hue nor saturation
    a, b = (jitter_and_crop(frames, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a, b) and not np.array_equal(a, frames) and a.dtype == np.uint8
