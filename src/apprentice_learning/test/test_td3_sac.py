from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.sac import SAC, SACConfig
from apprentice_learning.algorithms.td3 import SMOOTHING, TD3, TD3Config
from apprentice_learning.data.batch import Batch, MixedBatch
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import squashed

SPECS = (
    ArraySpec("state", (5,)), ArraySpec("tool/pose", (7,)), ArraySpec("goal/position", (3,)), ArraySpec("camera/c", (64, 64, 3), "uint8"),
)
VECTOR = NetworkConfig(proprio=("state",), proprio_embedding=0, hidden=(24, 16))
PIXELS = NetworkConfig(cameras=("camera/c",), encoder="gray32", image_reduction=2, hidden=(16,))


def make(kind, network: NetworkConfig = VECTOR, seed: int = 0, **settings):
    torch.manual_seed(seed)
    learner, config = (TD3, TD3Config) if kind == "td3" else (SAC, SACConfig)
    return learner(SPECS, 3, network, config(**settings))


def batch(n: int = 16, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    r = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    return Batch({"state": r(n, 5)}, torch.tanh(r(n, 3)), r(n), (r(n) > -1).float(), {"state": r(n, 5)})


def images(n: int = 4) -> Batch:
    def observation() -> dict:
        image = torch.randint(0, 255, (n, 64, 64, 3), dtype=torch.uint8)
        return {"camera/c": image, "tool/pose": torch.randn(n, 7), "goal/position": torch.randn(n, 3)}

    return Batch(observation(), torch.rand(n, 3) * 2 - 1, torch.rand(n), torch.ones(n), observation())


def copies(module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---- TD3 ----

@pytest.mark.parametrize("preset", ["standard", "released"])
def test_smoothed_target_action(preset):
    """clip(pi' + clip(eps, -c, c), -1, 1), eps ~ N(0, std^2); both presets (A7)."""
    learner = make("td3", smoothing=preset, zero_init=False)
    std, clip = SMOOTHING[preset]
    assert {"standard": (0.2, 0.5), "released": (0.1, 0.1)}[preset] == (std, clip)
    state = torch.zeros(20000, 5)
    mean = learner.target_actor.head(state[:1])[0].detach()
    torch.manual_seed(1)
    got = learner.target_action(state) - mean
    assert got.abs().max() <= clip + 1e-6
    torch.manual_seed(1)
    expected = (mean + (std * torch.randn(20000, 3)).clamp(-clip, clip)).clamp(-1, 1) - mean
    assert torch.allclose(got, expected, atol=1e-6)
    with torch.no_grad():
        learner.target_actor.head[-2].bias += 10.0
    assert learner.target_action(state).max() == 1.0


def test_target_is_the_smaller_critic_and_stops_at_terminals():
    learner, b = make("td3", gamma=0.9), batch()
    _, after = learner._inputs(b)
    torch.manual_seed(4)
    y = learner.bellman(b, after)
    torch.manual_seed(4)
    action = learner.target_action(after)
    q1, q2 = learner.target(after, action)
    assert torch.allclose(y, b.reward + 0.9 * b.discount * torch.minimum(q1, q2), atol=1e-6)
    assert not y.requires_grad and bool((b.discount == 0).any())
    assert torch.equal(y[b.discount == 0], b.reward[b.discount == 0])


def test_td3_losses_and_their_order():
    """One update against the equations written out, with optimisers of plain torch."""
    ours, plain = (make("td3", critic_only_updates=0, policy_period=1, zero_init=False) for _ in "12")
    b = batch()
    torch.manual_seed(3)
    metrics = ours.update(b)
    torch.manual_seed(3)
    now, after = plain._inputs(b)
    y = plain.bellman(b, after)
    critic_optimiser = torch.optim.Adam(plain.critic.parameters(), lr=1e-3)
    q1, q2 = plain.critic(now, b.action)
    loss = ((q1 - y) ** 2).mean() + ((q2 - y) ** 2).mean()
    loss.backward()
    critic_optimiser.step()
    actor_optimiser = torch.optim.Adam(plain.actor.parameters(), lr=1e-3)
    policy_loss = -plain.critic(now, plain.actor.head(now))[0].mean()
    actor_optimiser.zero_grad()
    policy_loss.backward()
    actor_optimiser.step()
    assert metrics["critic_loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["policy_loss"].item() == pytest.approx(policy_loss.item(), rel=1e-4)
    for a, p in ((ours.critic, plain.critic), (ours.actor, plain.actor)):
        assert all(torch.allclose(x, z, atol=1e-6) for x, z in zip(a.parameters(), p.parameters(), strict=True))
    for target, online, start in ((ours.target, ours.critic, plain.target), (ours.target_actor, ours.actor, plain.target_actor)):
        for t, o, s in zip(target.parameters(), online.parameters(), start.parameters(), strict=True):
            assert torch.allclose(t, 0.995 * s + 0.005 * o, atol=1e-7)


def test_policy_and_targets_are_delayed_and_the_first_updates_are_the_critics():
    learner, b = make("td3", critic_only_updates=4), batch()
    policy, target = copies(learner.actor), copies(learner.target)
    changed = []
    for _ in range(8):
        before = copies(learner.target)
        learner.update(b)
        changed.append((not same(policy, learner.actor.parameters()), not same(before, learner.target.parameters())))
        policy = copies(learner.actor)
    assert changed == [(False, k % 2 == 0) for k in range(1, 5)] + [(k % 2 == 0, k % 2 == 0) for k in range(5, 9)]
    assert not same(target, learner.target.parameters())


def mixed(n: int = 12, demonstrations: int = 4) -> MixedBatch:
    b, prior = batch(n), torch.zeros(n)
    prior[-demonstrations:] = 1.0
    return MixedBatch(b.observation, b.action, b.reward, b.discount, b.next_observation, prior=prior)


def test_cloning_loss_with_its_filter():
    """L_BC = sum over demonstrations of |pi - a|^2, counted where Q_1(s, a_demo) > Q_1(s, pi(s)); weights lambda1 and lambda2."""
    b = mixed()
    values = {}
    for q_filter in (False, True):
        learner = make("td3", zero_init=False, q_filter=q_filter, q_weight=0.5, cloning_weight=0.25)
        now, _ = learner._inputs(b)
        pi = learner.actor.head(now)
        error = ((pi - b.action) ** 2).sum(-1)
        better = learner.critic(now, b.action)[0] > learner.critic(now, pi)[0]
        counts = b.prior * (better if q_filter else 1.0)
        loss, metrics = learner.policy_loss(b, now)
        values[q_filter] = metrics["cloning_loss"].item()
        assert values[q_filter] == pytest.approx((error * counts).sum().item(), rel=1e-5)
        assert loss.item() == pytest.approx((-0.5 * learner.critic(now, pi)[0].mean() + 0.25 * (error * counts).sum()).item(), rel=1e-4)
    assert 0 < values[True] < values[False]


def test_cloning_pulls_the_actor_to_the_demonstrator():
    learner, b = make("td3", critic_only_updates=0, policy_period=1, q_weight=1e-6, cloning_weight=1.0, q_filter=False), mixed(12, 12)
    first = learner.update(b)["cloning_loss"]
    for _ in range(200):
        last = learner.update(b)["cloning_loss"]
    assert last < 0.3 * first


# ---- SAC ----

def test_log_density_of_the_squashed_gaussian():
    torch.manual_seed(0)
    mean, log_std, z = torch.randn(3, 50, 3, dtype=torch.float64)
    action, log_prob = squashed(mean, log_std, z)
    known = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), [torch.distributions.TanhTransform(cache_size=1)]
    )
    inside = (action.abs() < 1 - 1e-9).all(-1)
    assert inside.sum() > 20
    assert torch.allclose(log_prob[inside], known.log_prob(action).sum(-1)[inside], atol=1e-6)
    x = torch.full((1, 3), 40.0)
    assert torch.isfinite(squashed(x, torch.zeros(1, 3), torch.zeros(1, 3))[1]).all()
    # The density integrates to 1 over (-1, 1).
    grid = torch.linspace(-1 + 1e-6, 1 - 1e-6, 20001, dtype=torch.float64)[:, None]
    sigma = torch.tensor(math.log(0.5), dtype=torch.float64)
    density = squashed(torch.full_like(grid, 0.3), sigma, (torch.atanh(grid) - 0.3) / 0.5)[1].exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-3)


def test_sac_target_has_the_entropy_bonus():
    learner, b = make("sac", zero_init=False, initial_temperature=0.3, gamma=0.9), batch()
    _, after = learner._inputs(b)
    torch.manual_seed(2)
    y = learner.bellman(b, after)
    torch.manual_seed(2)
    action, log_prob = learner.head.sample(after, torch.randn(16, 3))
    q1, q2 = learner.target(after, action)
    assert torch.allclose(y, b.reward + 0.9 * b.discount * (torch.minimum(q1, q2) - 0.3 * log_prob), atol=1e-5)
    assert not y.requires_grad


def test_sac_policy_loss_is_the_equation():
    learner, b = make("sac", zero_init=False, initial_temperature=0.3), batch()
    now, _ = learner._inputs(b)
    torch.manual_seed(2)
    loss, temperature_loss, _ = learner.policy_loss(now)
    torch.manual_seed(2)
    action, log_prob = learner.head.sample(now, torch.randn(16, 3))
    expected = (0.3 * log_prob - torch.minimum(*learner.critic(now, action))).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert temperature_loss.item() == pytest.approx((-0.3 * (log_prob - 3.0)).mean().item(), rel=1e-5)
    assert torch.autograd.grad(loss, learner.temperature.log_alpha, retain_graph=True, allow_unused=True)[0] is None
    assert all(g is None for g in torch.autograd.grad(temperature_loss, list(learner.actor.parameters()), allow_unused=True))


@pytest.mark.parametrize(("target", "rises"), [(50.0, True), (-50.0, False)])
def test_temperature_rises_while_the_entropy_is_below_its_target(target, rises):
    learner, b = make("sac", target_entropy=target), batch()
    before = learner.temperature.log_alpha.item()
    for _ in range(5):
        learner.update(b)
    assert (learner.temperature.log_alpha.item() > before) == rises
    assert make("sac").target_entropy == -3.0


def test_sac_policy_reaches_no_critic_and_targets_move_each_update():
    learner, b = make("sac"), batch()
    target = copies(learner.target)
    learner.update(b)
    for t, o, s in zip(learner.target.parameters(), learner.critic.parameters(), target, strict=True):
        assert torch.allclose(t, 0.995 * s + 0.005 * o, atol=1e-7)
    now, _ = learner._inputs(b)
    critic = copies(learner.critic)
    loss, temperature_loss, _ = learner.policy_loss(now)
    learner._step("policy", loss + temperature_loss, learner._of_policy)
    assert same(critic, learner.critic.parameters())


# ---- both ----

@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_a_new_residual_is_exactly_nothing(kind):
    """A9: at step 0 base + residual is the base, to the bit."""
    for network, observation in ((VECTOR, {"state": torch.randn(9, 5) * 10}), (PIXELS, images().observation)):
        assert not make(kind, network).policy().eval()(observation).any()
    assert make(kind, zero_init=False).policy()({"state": torch.randn(9, 5)}).any()


def test_initial_spread_is_set_before_the_tanh():
    learner = make("sac", initial_std=0.25)
    mean, log_std = learner.head.spread(torch.randn(7, 5))
    assert not mean.any() and torch.allclose(log_std.exp(), torch.full((7, 3), 0.25))


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_actor_and_both_critics_have_encoders_of_their_own(kind):
    torch.manual_seed(0)
    learner, b = make(kind, PIXELS, **({"critic_only_updates": 0, "policy_period": 1} if kind == "td3" else {})), images()
    owned = [learner.actor.encoder, *learner.critic.encoder.encoders]
    assert len({id(p) for m in owned for p in m.parameters()}) == 3 * len(list(owned[0].parameters()))
    starts = [copies(m) for m in owned]
    learner.update(b)
    learner.update(b)
    assert not any(same(s, m.parameters()) for s, m in zip(starts, owned, strict=True))
    assert owned[0].size == 256 and learner.inputs == ("camera/c",)
    critic = copies(learner.critic)
    now, _ = learner._inputs(b)
    loss = learner.policy_loss(b, now)[0] if kind == "td3" else learner.policy_loss(now)[0]
    learner._step("policy", loss, learner._of_policy)
    assert same(critic, learner.critic.parameters())


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_the_goal_error_reaches_the_critic_and_never_the_policy(kind):
    learner, b = make(kind, PIXELS, critic_gets_x=True), images()
    assert learner.inputs == ("camera/c", "tool/pose", "goal/position") and learner.policy().inputs == ("camera/c",)
    now, _ = learner._inputs(b)
    moved = {**now, "goal/position": now["goal/position"] + 0.01}
    assert not torch.allclose(learner.critic(now, b.action), learner.critic(moved, b.action))
    assert torch.equal(learner.policy()(now), learner.policy()(moved))
    learner.update(b)
    vector = make(kind, VECTOR, critic_gets_x=True)
    assert vector.inputs == ("state", "tool/pose", "goal/position")
    with pytest.raises(ConfigError, match="critic_gets_x"):
        kind_class, config = (TD3, TD3Config()) if kind == "td3" else (SAC, SACConfig())
        kind_class(SPECS[:2], 3, VECTOR, config.model_copy(update={"critic_gets_x": True}))


@pytest.mark.parametrize("kind", ["td3", "sac"])
def test_point_mass_is_learned(kind):
    """s' = s + a / 2, r = -|s'|^2: uniform random data have to teach to go home. Any loss of wrong sign goes away instead."""
    settings = {"critic_only_updates": 50, "actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3} if kind == "td3" else {
        "learning_rate": 3e-3, "initial_temperature": 0.05}
    specs, g = (ArraySpec("state", (2,)),), np.random.default_rng(0)
    torch.manual_seed(0)
    network = NetworkConfig(proprio=("state",), proprio_embedding=0, hidden=(48, 48))
    learner = (TD3(specs, 2, network, TD3Config(gamma=0.5, **settings)) if kind == "td3"
               else SAC(specs, 2, network, SACConfig(gamma=0.5, **settings)))
    t = lambda x: torch.from_numpy(x.astype(np.float32))  # noqa: E731
    for _ in range(500):
        s, a = g.uniform(-1, 1, (64, 2)), g.uniform(-1, 1, (64, 2))
        after = s + 0.5 * a
        learner.update(Batch({"state": t(s)}, t(a), t(-(after**2).sum(1)), torch.ones(64), {"state": t(after)}))
    s = torch.rand(500, 2) * 2 - 1
    left = (s + 0.5 * learner.policy().eval()({"state": s}).detach()).norm(dim=1).mean().item()
    assert left < 0.45 * s.norm(dim=1).mean().item()  # at best 0.29 is left
