from __future__ import annotations

import numpy as np
import pytest
import torch

from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.bc import BC, BCConfig
from apprentice_learning.algorithms.iql import ACTION_BOUND, IQL, IQLConfig, expectile_loss
from apprentice_learning.data.batch import Batch
from apprentice_learning.networks.observation import NetworkConfig

SPECS = (ArraySpec("state", (5,)),)
VECTOR = NetworkConfig(proprio=("state",), proprio_embedding=0, hidden=(32, 32))


def batches(n: int, size: int = 32, seed: int = 0) -> list[Batch]:
    g = torch.Generator().manual_seed(seed)
    r = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    return [Batch({"state": r(size, 5)}, torch.tanh(r(size, 3)), r(size), (r(size) > -1).float(), {"state": r(size, 5)}) for _ in range(n)]


def make(seed: int = 0, **settings) -> IQL:
    torch.manual_seed(seed)
    return IQL(SPECS, 3, VECTOR, IQLConfig(**settings))


def fit_expectile(samples: torch.Tensor, tau: float) -> float:
    """The minimiser of the loss itself, by Newton's method on its exact derivatives from autograd."""
    m = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for _ in range(30):
        loss = expectile_loss(samples - m, tau).mean()
        (grad,) = torch.autograd.grad(loss, m, create_graph=True)
        (curvature,) = torch.autograd.grad(grad, m)
        with torch.no_grad():
            m -= grad / curvature
    return m.item()


@pytest.mark.parametrize(("tau", "value"), [(0.5, 0.0), (0.7, 0.3371), (0.8, 0.5492), (0.9, 0.8616), (0.95, 1.1402), (0.99, 1.7174)])
def test_expectiles_of_the_normal(tau, value):
    quantiles = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    assert fit_expectile(torch.special.ndtri(quantiles), tau) == pytest.approx(value, abs=2e-4)


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9, 0.99])
def test_expectiles_of_uniform_and_bernoulli(tau):
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    assert fit_expectile(uniform, tau) == pytest.approx(np.sqrt(tau) / (np.sqrt(tau) + np.sqrt(1 - tau)), abs=1e-4)
    p = 0.3
    coin = (torch.arange(1000) < 300).double()
    assert fit_expectile(coin, tau) == pytest.approx(tau * p / (tau * p + (1 - tau) * (1 - p)), abs=1e-6)


def test_conditional_expectile_follows_mean_then_envelope():
    torch.manual_seed(0)
    x = torch.rand(2000, 1) * 2 - 1
    y = x + torch.rand(2000, 1)  # mean x + 0.5, envelope x + 1
    features = torch.cat((x, torch.ones_like(x)), 1)
    fits = {}
    for tau in (0.5, 0.999):
        w = torch.zeros(2, 1, requires_grad=True)
        optimiser = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

        def closure(w=w, optimiser=optimiser, tau=tau):
            optimiser.zero_grad()
            loss = expectile_loss(y - features @ w, tau).mean()
            loss.backward()
            return loss

        optimiser.step(closure)
        fits[tau] = w.detach().flatten().tolist()
    assert fits[0.5] == pytest.approx([1.0, 0.5], abs=0.03)
    assert fits[0.999] == pytest.approx([1.0, 0.97], abs=0.04)


def test_losses_are_the_equations_of_the_spec():
    """One update against the equations written out plainly, with an optimiser of plain torch."""
    iql, (batch,) = make(expectile=0.8, awr_inv_temp=2.0), batches(1)
    plain = make(expectile=0.8, awr_inv_temp=2.0)
    s, s2 = batch.observation["state"].clamp(-5, 5), batch.next_observation["state"].clamp(-5, 5)
    a = batch.action.clamp(-ACTION_BOUND, ACTION_BOUND)
    q = torch.minimum(*plain.target(s, a)).detach()
    u = q - plain.value(s)
    loss_v = (torch.abs(0.8 - (u < 0).float()) * u**2).mean()
    optimiser = torch.optim.Adam(plain.value.parameters(), lr=3e-4)
    loss_v.backward()
    optimiser.step()
    with torch.no_grad():
        v, v2 = plain.value(s), plain.value(s2)
    weight = torch.clamp(torch.exp(2.0 * (q - v)), max=100)
    distribution = torch.distributions.Normal(plain.actor.head(s), plain.actor.head.log_std.exp())
    loss_pi = -(weight * distribution.log_prob(a).sum(-1)).mean()
    y = batch.reward + 0.99 * batch.discount * v2
    q1, q2 = plain.critic(s, a)
    loss_q = ((y - q1) ** 2).mean() + ((y - q2) ** 2).mean()
    metrics = iql.update(batch)
    for name, value in (("value_loss", loss_v), ("policy_loss", loss_pi), ("critic_loss", loss_q)):
        assert metrics[name].item() == pytest.approx(value.item(), rel=1e-5), name
    for ours, theirs in zip(iql.value.parameters(), plain.value.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_target_moves_by_alpha_and_defaults_are_the_papers():
    iql = make()
    before = [p.clone() for p in iql.target.parameters()]
    iql.update(batches(1)[0])
    for old, new, online in zip(before, iql.target.parameters(), iql.critic.parameters(), strict=True):
        assert torch.allclose(new, old + 0.005 * (online - old), atol=1e-8)
    c, n = IQLConfig(), NetworkConfig(proprio=("state",))
    assert (c.expectile, c.awr_inv_temp, c.weight_clip, c.gamma, c.learning_rate, c.target_rate) == (0.7, 3.0, 100.0, 0.99, 3e-4, 0.005)
    assert n.hidden == (256, 256) and isinstance(iql.value.body[1], torch.nn.ReLU)


def test_beta_zero_is_behaviour_cloning():
    iql = make(awr_inv_temp=0.0)
    torch.manual_seed(5)
    bc = BC(SPECS, 3, VECTOR, BCConfig())
    bc.network.load_state_dict(iql.actor.state_dict())
    for batch in batches(5):
        iql.update(batch)
        bc.update(batch)
    for a, b in zip(iql.actor.parameters(), bc.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_policy_loss_does_not_touch_the_values():
    with_policy, without = make(), make()
    without.set_phase("value")
    for batch in batches(6):
        with_policy.update(batch)
        without.update(batch)
    for name in ("value", "critic", "target"):
        for a, b in zip(getattr(with_policy, name).parameters(), getattr(without, name).parameters(), strict=True):
            assert torch.equal(a, b)
    fresh = make()
    assert all(torch.equal(a, b) for a, b in zip(without.actor.parameters(), fresh.actor.parameters(), strict=True))


def test_policy_can_be_extracted_afterwards():
    iql = make()
    iql.set_phase("value")
    for batch in batches(4):
        iql.update(batch)
    owned = [*iql.value.parameters(), *iql.critic.parameters(), *iql.target.parameters()]
    values = [p.clone() for p in owned]
    iql.set_phase("policy")
    losses = [iql.update(batch)["policy_loss"].item() for batch in batches(1) * 30]
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(values, owned, strict=True))


def test_q_is_evaluated_at_actions_of_the_batch_alone():
    iql, seen = make(), []
    for net in (iql.critic, iql.target):
        net.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    for batch in batches(3):
        seen.clear()
        iql.update(batch)
        assert len(seen) == 2
        assert all(torch.equal(a, batch.action.clamp(-ACTION_BOUND, ACTION_BOUND)) for a in seen)


def test_time_out_bootstraps_and_terminal_does_not():
    iql, (batch,) = make(gamma=0.9), batches(1)
    low, high = Batch(batch.observation, batch.action, batch.reward, torch.zeros(32), batch.next_observation), batch
    zero = iql.validate(low)["critic_loss"].item()
    other = Batch(batch.observation, batch.action, batch.reward, torch.zeros(32), {"state": batch.next_observation["state"] + 3})
    assert iql.validate(other)["critic_loss"].item() == zero
    assert iql.validate(high)["critic_loss"].item() != zero


def test_same_seed_same_numbers():
    a, b = make(3), make(3)
    for batch in batches(3):
        a.update(batch)
        b.update(batch)
    for (k, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), k


def test_gradient_of_values_never_reaches_a_shared_encoder():
    specs = (ArraySpec("camera/c", (8, 8, 3), "uint8"),)
    network = NetworkConfig(cameras=("camera/c",), encoder="tiny", hidden=(16,))
    torch.manual_seed(0)
    iql = IQL(specs, 3, network, IQLConfig(encoder="policy"))
    iql.set_phase("value")
    before = [p.clone() for p in iql.actor.parameters()]
    image = lambda: {"camera/c": torch.randint(0, 255, (4, 8, 8, 3), dtype=torch.uint8)}  # noqa: E731
    metrics = iql.update(Batch(image(), torch.zeros(4, 3), torch.ones(4), torch.ones(4), image()))
    assert "critic_loss" in metrics
    assert all(torch.equal(a, b) for a, b in zip(before, iql.actor.parameters(), strict=True))


# ---- stitching: spec 001b C.12 line 28 ----

GOAL, START, JUNCTION = np.array([0.0, 1.0]), np.array([-1.0, 0.0]), np.array([0.0, 0.0])
SPEED = 0.125


def corridor(start: np.ndarray, ends: list[np.ndarray], rng: np.random.Generator) -> list[tuple]:
    """Walks through way points with a little noise: (s, a, r, discount, s')."""
    s, out = start + rng.uniform(-0.03, 0.03, 2), []
    for end in ends:
        for _ in range(40):
            gap = end - s
            if np.linalg.norm(gap) < 0.1:
                break
            a = np.clip(gap / SPEED + 0.1 * rng.standard_normal(2), -1, 1)
            after = s + SPEED * a
            reached = np.linalg.norm(after - GOAL) < 0.1
            out.append((s, a, float(reached), 0.0 if reached else 1.0, after))
            s = after
            if reached:
                return out
    return out


def test_point_maze_stitching():
    """T-maze: start -> junction -> right (never the goal), and right -> junction -> goal. Only stitching goes start -> goal.

    Walks from the start turn to the wrong arm most of the time, so that imitation fails there.
    """
    rng, rows = np.random.default_rng(0), []
    right = np.array([1.0, 0.0])
    for _ in range(60):
        rows += corridor(START, [JUNCTION, right], rng)
        if _ < 20:
            rows += corridor(right, [JUNCTION, GOAL], rng)
    s, a, r, d, s2 = (np.array(x, dtype=np.float32) for x in zip(*rows, strict=True))
    specs, g = (ArraySpec("state", (2,)),), np.random.default_rng(1)
    scale = 3.0

    def rollout(policy) -> bool:
        x = START.copy()
        for _ in range(60):
            with torch.no_grad():
                x = x + SPEED * policy({"state": torch.tensor(x * scale, dtype=torch.float32)[None]})[0].numpy()
            if np.linalg.norm(x - GOAL) < 0.15:
                return True
        return False

    solved = {}
    for tau, beta in ((0.9, 30.0), (0.5, 0.0)):
        torch.manual_seed(0)
        iql = IQL(specs, 2, NetworkConfig(proprio=("state",), proprio_embedding=0, hidden=(48, 48)),
                  IQLConfig(expectile=tau, awr_inv_temp=beta, learning_rate=2e-3, target_rate=0.05, gamma=0.95))
        for _ in range(700):
            i = g.integers(0, len(s), 64)
            t = lambda x, i=i: torch.from_numpy(x[i])  # noqa: E731
            iql.update(Batch({"state": t(s) * scale}, t(a), t(r), t(d), {"state": t(s2) * scale}))
        solved[tau] = rollout(iql.policy().eval())
    assert solved == {0.9: True, 0.5: False}
