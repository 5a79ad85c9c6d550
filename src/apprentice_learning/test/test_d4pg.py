from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.d4pg import D4PG, D4PGConfig, n_step_return, project
from apprentice_learning.config import TrainConfig, load_train_config
from apprentice_learning.data.batch import SequenceBatch
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import RecurrentPolicy
from apprentice_learning.networks.recurrent import LayerNormLSTM, states_before

SPECS = (ArraySpec("camera/front", (16, 24, 3), "uint8"), ArraySpec("tool/pose", (3,)))
NETWORK = NetworkConfig(cameras=("camera/front",), proprio=("tool/pose",), encoder="tiny", proprio_embedding=8, hidden=(16, 12))
T, B, N = 6, 4, 3


def learner(critic: str = "categorical", **fields) -> D4PG:
    torch.manual_seed(0)
    values = {"critic": critic, "sequence": T, "n_step": N, "critic_width": 16, "atoms": 11, "v_max": 10.0, **fields}
    return D4PG(SPECS, 2, NETWORK, D4PGConfig.model_validate(values))


def batch(valid: torch.Tensor | None = None, seed: int = 0) -> SequenceBatch:
    g = torch.Generator().manual_seed(seed)
    rows = T + N
    observation = {
        "camera/front": torch.randint(0, 256, (rows, B, 16, 24, 3), dtype=torch.uint8, generator=g),
        "tool/pose": torch.randn(rows, B, 3, generator=g),
    }
    valid = torch.ones(rows - 1, B, dtype=torch.bool) if valid is None else valid
    reward = torch.rand(rows - 1, B, generator=g) * valid
    discount = (torch.rand(rows - 1, B, generator=g) > 0.15).float()
    return SequenceBatch(observation, torch.rand(rows - 1, B, 2, generator=g) * 2 - 1, reward, discount, valid=valid)


def brute_force(total: float, factor: float, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Spec 000 section 2.10, term by term."""
    width = (z[-1] - z[0]) / (len(z) - 1)
    m = np.zeros(len(z))
    for i in range(len(z)):
        for j in range(len(z)):
            y = min(max(total + factor * z[j], z[0]), z[-1])
            m[i] += min(max(1 - abs(y - z[i]) / width, 0), 1) * p[j]
    return m


@given(
    st.integers(2, 12), st.floats(-20, 150), st.floats(0, 1), st.floats(-5, 5), st.floats(0.5, 100), st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_projection_equals_the_sum_term_by_term(atoms, total, factor, low, span, seed):
    z = np.linspace(low, low + span, atoms)
    p = np.random.default_rng(seed).dirichlet(np.ones(atoms))
    got = project(*(torch.tensor(v, dtype=torch.float64) for v in (total, factor, p, z))).numpy()
    np.testing.assert_allclose(got, brute_force(total, factor, p, z), atol=1e-9)
    assert got.sum() == pytest.approx(1.0) and got.min() >= 0


def test_projection_of_a_terminal_ignores_what_comes_after_and_clips():
    z = torch.linspace(0, 10, 11)
    p = torch.softmax(torch.randn(11), 0)
    m = project(torch.tensor(3.25), torch.tensor(0.0), p, z)
    assert m[3].item() == pytest.approx(0.75) and m[4].item() == pytest.approx(0.25)
    assert project(torch.tensor(99.0), torch.tensor(1.0), p, z)[-1].item() == pytest.approx(1.0)


@given(
    st.integers(1, 6),
    arrays(np.float32, (8, 2), elements=st.floats(0, 1, width=32)),
    arrays(np.float32, (8, 2), elements=st.sampled_from([0, 1])),
    arrays(np.bool_, (8, 2)),
)
@settings(max_examples=100, deadline=None)
def test_n_step_return_equals_a_loop(n, reward, discount, valid):
    steps = 9 - n
    total, factor, m = n_step_return(*map(torch.from_numpy, (reward, discount, valid)), steps, n, 0.9)
    for t in range(steps):
        for b in range(2):
            expected, alive, count = 0.0, 1.0, 0
            while count < n and valid[t + count, b]:
                expected += alive * reward[t + count, b]
                alive *= 0.9 * discount[t + count, b]
                count += 1
            assert m[t, b] == count
            assert total[t, b].item() == pytest.approx(expected, abs=1e-5) and factor[t, b].item() == pytest.approx(alive, abs=1e-6)


def test_lstm_sequence_equals_single_steps_and_begins_at_zero():
    torch.manual_seed(0)
    core = LayerNormLSTM(5, (16, 12))
    x = torch.randn(7, 3, 5)
    output, after = core(x)
    state = core.initial_state(3)
    assert not any(s.any() for s in state) and [s.shape[-1] for s in state] == [16, 16, 12, 12]
    before = states_before(after)
    for t in range(7):
        assert all(torch.allclose(a[t], b, atol=1e-6) for a, b in zip(before, state, strict=True))
        step, state = core.step(x[t], state)
        assert torch.allclose(step, output[t], atol=1e-6)
    x = x.clone().requires_grad_()
    core(x)[0][-1].sum().backward()
    assert bool((x.grad.abs().amax((1, 2)) > 1e-6).all()), "the gradient goes back through time to the first step"


def test_lstm_follows_its_equations():
    torch.manual_seed(1)
    core = LayerNormLSTM(3, (4,))
    cell = core.cells[0]
    assert cell.input_norm.bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)

    def norm(v: torch.Tensor) -> torch.Tensor:
        return (v - v.mean(-1, keepdim=True)) / torch.sqrt(v.var(-1, unbiased=False, keepdim=True) + 1e-5)

    gates = norm(x @ cell.input.weight.T) + cell.input_norm.bias + norm(h @ cell.recurrent.weight.T)
    i, f, o, g = gates.chunk(4, -1)
    c2 = f.sigmoid() * c + i.sigmoid() * g.tanh()
    out, state = core.step(x, (h, c))
    assert torch.allclose(state[1], c2, atol=1e-5) and torch.allclose(out, o.sigmoid() * torch.tanh(norm(c2)), atol=1e-5)


def test_the_full_network_has_the_sizes_of_the_spec():
    config = load_train_config("d4pg")
    specs = [ArraySpec(config.network.cameras[0], (80, 128, 3), "uint8"), ArraySpec(config.network.cameras[1], (96, 128, 3), "uint8")]
    specs += [ArraySpec(n, (7,)) for n in config.network.proprio]
    made = D4PG(specs, 7, config.network, config.learner.settings)
    assert made.actor.encoder.size == 2 * 128 + 64
    assert made.actor.core.units == made.critic.core.units == (256, 256)
    assert made.critic.of_features.out_features == made.critic.of_action.out_features == made.critic.mix.out_features == 256
    assert made.critic.support.tolist() == list(map(float, range(101))) and made.sequence == 45
    weights = {id(p) for p in made.actor.encoder.encoders[0].parameters()} & {id(p) for p in made.actor.encoder.encoders[1].parameters()}
    assert not weights


def test_actor_and_critic_are_wired_as_the_spec_draws_them():
    made = learner()
    features, action = torch.randn(4, 2, made.actor.encoder.size), torch.rand(4, 2, 2) * 2 - 1
    assert torch.equal(made.actor.act(features), torch.tanh(made.actor.head(made.actor.core(features)[0])))
    c = made.critic
    joint = torch.relu(c.mix(torch.cat((c.of_features(features), c.of_action(action)), -1)))
    assert torch.equal(c(features, action)[0], c.head(c.core(joint)[0])) and c.head.out_features == 11
    assert torch.allclose(c.value(c.head(c.core(joint)[0])), torch.softmax(c.head(c.core(joint)[0]), -1) @ torch.linspace(0, 10, 11))


def test_the_default_has_no_term_but_the_papers():
    settings = load_train_config("d4pg").learner.settings
    assert settings == D4PGConfig() and (settings.actor, settings.critic) == ("gradient", "categorical")
    made = learner()
    made.actor.eval()
    made.critic.eval()
    data = batch()
    loss = made._losses(data)[0]
    with torch.no_grad():  # the critic's loss is the cross-entropy to the projected target and nothing beside it
        total, factor, m = n_step_return(data.reward, data.discount, data.valid, T, N, made.config.gamma)
        target = made._target(data, total, factor, m)
        logits = made.critic(made.actor.encode({n: v[:T] for n, v in data.observation.items()}), data.action[:T])[0]
        expected = -(target * logits.log_softmax(-1)).sum(-1).mean()
    assert torch.allclose(loss, expected, atol=1e-6)


@pytest.mark.parametrize("critic", ["categorical", "scalar"])
def test_each_loss_reaches_its_own_networks_only(critic):
    made = learner(critic)
    critic_loss, policy_loss, _ = made._losses(batch())
    everything = {
        "encoder": list(made.actor.encoder.parameters()), "actor": made.actor.actor_parameters(), "critic": list(made.critic.parameters()),
        "target": [*made.target.parameters(), *made.target_critic.parameters()],
    }

    def touched(loss: torch.Tensor) -> set[str]:
        for parameters in everything.values():
            for p in parameters:
                p.grad = None
        loss.backward()
        return {k for k, ps in everything.items() if any(p.grad is not None and p.grad.any() for p in ps)}

    assert touched(policy_loss) == {"actor"}
    assert touched(critic_loss) == {"encoder", "critic"}


def test_policy_gradient_is_that_of_q_with_the_state_held_constant():
    """With no clipping, L_pi's gradient is the one of -mean Q(x_t, pi(x_t)), each Q one step from the state of the logged actions."""
    made = learner(action_gradient_clip=1e9)
    made.actor.eval()
    made.critic.eval()
    data = batch()
    _, loss, _ = made._losses(data)
    got = torch.autograd.grad(loss, made.actor.actor_parameters())
    with torch.no_grad():
        features = made.actor.encode({n: v[:T] for n, v in data.observation.items()})
        state = made.critic.core.initial_state(B)
    action = made.actor.act(features)
    value = 0.0
    for t in range(T):
        value = value + made.critic.value(made.critic.one_step(features[t], action[t], state)).sum()
        with torch.no_grad():
            _, state = made.critic.core.step(made.critic._inputs(features[t], data.action[t]), state)
    expected = torch.autograd.grad(-value / (T * B), made.actor.actor_parameters())
    for a, b in zip(got, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_action_gradient_is_clipped_in_norm():
    tight, loose = (learner(action_gradient_clip=c) for c in (1e-4, 1e9))
    for made in (tight, loose):
        made.actor.eval()
        made.critic.eval()
    small, large = (m._losses(batch())[1] for m in (tight, loose))
    a, b = (torch.stack([g.norm() for g in torch.autograd.grad(loss, m.actor.actor_parameters())]).norm()
            for loss, m in ((small, tight), (large, loose)))
    assert loose._losses(batch())[2]["action_gradient"] > 1e-4 and a < 0.5 * b


@pytest.mark.parametrize("weight", ["exp", "binary"])
def test_crr_weighs_recorded_actions_by_how_much_better_they_are(weight, monkeypatch):
    agent = learner(actor="crr", crr_weight=weight, crr_cap=3.0)
    given = batch(seed=5)
    mask = torch.ones(T, B, dtype=torch.bool)
    features = torch.randn(T, B, agent.actor.encoder.size)
    before = tuple(torch.zeros(T, B, u) for u in (16, 16, 12, 12))
    monkeypatch.setattr(agent.critic, "one_step", lambda features, action, state: torch.zeros(*action.shape[:-1], 11))  # Q = 5 for any
    advantage = torch.linspace(-2, 2, T * B).reshape(T, B)
    loss, mean, metrics = agent._crr(features, before, given.action[:T], 5.0 + advantage, mask)
    spread = advantage.std(correction=0)
    f = (advantage > 0).float() if weight == "binary" else (advantage / spread).exp().clamp(max=3.0)
    expected = -(f * torch.distributions.Normal(mean, 1.0).log_prob(given.action[:T]).sum(-1)).mean()
    torch.testing.assert_close(loss, expected)
    assert metrics["q_policy"].item() == pytest.approx(5.0) and metrics["weight"].item() == pytest.approx(f.mean().item())


@pytest.mark.parametrize("actor", ["gradient", "crr"])
def test_validation_repeats_itself_and_leaves_the_random_numbers_of_training_alone(actor):
    agent, before = learner(actor=actor), torch.get_rng_state()
    first, second = agent.validate(batch()), agent.validate(batch())
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_crr_trains_mean_and_spread_and_acts_without_noise():
    agent = learner(actor="crr")
    frozen = [p.detach().clone() for p in agent.actor.encoder.parameters()]
    _, policy_loss, _ = agent._losses(batch())
    policy_loss.backward()
    assert all(p.grad is None for p in (*agent.actor.encoder.parameters(), *agent.critic.parameters()))
    assert all(p.grad is not None for p in (*agent.actor.actor_parameters(), *agent.spread.parameters()))
    agent.update(batch())
    assert any(not torch.equal(a, b) for a, b in zip(frozen, agent.actor.encoder.parameters(), strict=True))  # by the critic
    assert not agent.policy().sample_noise({}, torch.ones(1, agent.policy().actions)).any()


@pytest.mark.parametrize("critic", ["categorical", "scalar"])
def test_target_bootstraps_one_step_from_the_logged_state(critic):
    """Against a loop: shortened window near the end, one step with pi' from the target critic's state."""
    made = learner(critic)
    torch.manual_seed(5)
    for p in (*made.target.parameters(), *made.target_critic.parameters()):
        p.add_(0.05 * torch.randn_like(p))  # targets differ from the online nets
    valid = torch.ones(T + N - 1, B, dtype=torch.bool)
    valid[4:, 0] = False
    valid[2, 1] = False
    data = batch(valid)
    total, factor, m = n_step_return(data.reward, data.discount, data.valid, T, N, made.config.gamma)
    got = made._target(data, total, factor, m)
    with torch.no_grad():
        features = made.target.encode(data.observation)
        actions = made.target.act(features)
        for b in range(B):
            for t in range(T):
                if not valid[t, b]:
                    assert m[t, b] == 0
                    continue
                at = t + int(m[t, b])
                state = made.target_critic.core.initial_state(1)
                for k in range(at):
                    inputs = made.target_critic._inputs(features[k, b : b + 1], data.action[k, b : b + 1])
                    _, state = made.target_critic.core.step(inputs, state)
                output = made.target_critic.one_step(features[at, b : b + 1], actions[at, b : b + 1], state)[0]
                if critic == "scalar":
                    expected = total[t, b] + factor[t, b] * output[0]
                else:
                    z = made.critic.support.numpy().astype(float)
                    expected = torch.from_numpy(brute_force(float(total[t, b]), float(factor[t, b]), output.softmax(0).numpy(), z)).float()
                assert torch.allclose(got[t, b], expected, atol=1e-5)


def test_steps_that_do_not_count_change_nothing():
    valid = torch.ones(T + N - 1, B, dtype=torch.bool)
    valid[3:, 2] = False
    one, other = batch(valid), batch(valid)
    other.action[3:, 2] = 0.3
    other.reward[3:, 2] = 77.0
    other.observation["camera/front"][4:, 2] = 9  # row 3 is the last observation: it is bootstrapped from
    results = []
    for data in (one, other):
        made = learner()
        made.actor.encoder.encoders[0].softmax.noise = 0.0
        results.append({k: v.item() for k, v in made.update(data).items()})
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_targets_are_copied_every_period():
    made = learner(target_period=3)
    first = {k: v.clone() for k, v in made.target.state_dict().items()}
    for step in range(1, 4):
        made.update(batch(seed=step))
        copied = all(torch.equal(v, made.actor.state_dict()[k]) for k, v in made.target.state_dict().items())
        assert copied == (step == 3)
        if step < 3:
            assert all(torch.equal(v, first[k]) for k, v in made.target.state_dict().items())
    assert all(torch.equal(v, made.critic.state_dict()[k]) for k, v in made.target_critic.state_dict().items())


def test_bfloat16_and_float32_agree_roughly():
    torch.manual_seed(0)
    policy = RecurrentPolicy(SPECS, 2, NETWORK).eval()
    low = RecurrentPolicy(SPECS, 2, NETWORK.model_copy(update={"precision": "bfloat16"})).eval()
    low.load_state_dict(policy.state_dict())
    data = batch().observation
    assert torch.allclose(policy(data), low(data), atol=0.02)


def test_reduced_frames_give_what_the_network_makes_of_the_recorded_ones():
    from apprentice_core.images import box_reduce

    network = NETWORK.model_copy(update={"image_reduction": 2})
    policy = RecurrentPolicy(SPECS, 2, network).eval()
    data = dict(batch().observation)
    frames = data["camera/front"].numpy()
    small = np.stack([[box_reduce(f, 2) for f in row] for row in frames])
    assert torch.equal(policy(data), policy(data | {"camera/front": torch.from_numpy(small)}))


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="dropout"):
        D4PG(SPECS, 2, NETWORK.model_copy(update={"dropout": 0.1}), D4PGConfig())
    with pytest.raises(ValueError, match="v_min"):
        D4PGConfig(v_min=5, v_max=1)
    with pytest.raises(ValueError, match="no phase"):
        learner().set_phase("online")


@pytest.mark.parametrize(("part", "change", "named"), [("view", {"reward": ""}, "view.reward"), ("network", {"dropout": 0.1}, "dropout")])
def test_a_config_that_cannot_work_is_refused_before_the_data_are_read(part, change, named):
    fields = load_train_config("d4pg_small").model_dump()
    fields[part] |= change
    with pytest.raises(ValueError, match=named):
        TrainConfig.model_validate(fields)


@pytest.mark.parametrize("name", ["d4pg", "d4pg_small", "d4pg_lowdim", "d4pg_lowdim_stack"])
def test_shipped_presets(name):
    config = load_train_config(name)
    counts = [config.batch * s.ratio for s in config.view.sources]
    assert counts[0] == 3 * counts[1] and all(c == int(c) for c in counts)
    assert config.steps == 400_000 if name == "d4pg" else config.steps <= 25_000
    assert config.learner.settings.critic == "categorical" and config.view.action == "executed"
