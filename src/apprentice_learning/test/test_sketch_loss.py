"""The reward model's loss against its equations (spec 000 section 2.7; checklist lines 42 to 44, 48 and 49)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apprentice_learning.rewards.metrics import Counts
from apprentice_learning.rewards.sketch_loss import SketchLossConfig, rank_loss, sketch_loss, success_loss

C = SketchLossConfig()


def tensor(*rows: list[float], grad: bool = False) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32, requires_grad=grad)


def brute_force(reward: np.ndarray, sketch: np.ndarray) -> float:
    """The printed formula, pair by pair and frame by frame."""
    pairs, frames = [], []
    for r, s in zip(reward, sketch, strict=True):
        for t in range(len(s)):
            frames.append(max(0.0, 0.9 - r[t]) if s[t] > np.float32(0.85) else max(0.0, r[t] - 0.7) if s[t] < np.float32(0.85) else 0.0)
            pairs += [max(0.0, r[t] - r[q] + 0.1) for q in range(len(s)) if s[q] - s[t] > np.float32(0.2)]
    return float((np.mean(pairs) if pairs else 0.0) + 10.0 * np.mean(frames))


def test_the_constants_are_the_papers():
    assert (C.mu_s, C.mu_r, C.tau_s, C.tau_r1, C.tau_r2, C.success_weight) == (0.2, 0.1, 0.85, 0.9, 0.7, 10.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 7))
def test_it_is_the_printed_formula(seed: int, episodes: int, frames: int):
    rng = np.random.default_rng(seed)
    reward, sketch = rng.random((2, episodes, frames), dtype=np.float32)
    sketch[rng.random(sketch.shape) < 0.2] = 0.85
    total, rank, success = sketch_loss(torch.from_numpy(reward), torch.from_numpy(sketch), C)
    assert float(total) == pytest.approx(brute_force(reward, sketch), abs=1e-5)
    assert float(total) == pytest.approx(float(rank) + 10.0 * float(success), abs=1e-6)


def test_a_model_that_keeps_all_margins_has_no_loss():
    sketch = tensor([0.0, 0.3, 0.6, 0.95], [0.1, 0.15, 0.5, 0.84])
    reward = tensor([0.1, 0.3, 0.6, 0.95], [0.2, 0.2, 0.45, 0.7])
    assert float(sketch_loss(reward, sketch, C)[0]) == 0.0


@pytest.mark.parametrize(("reward", "part"), [
    ([0.1, 0.15, 0.6, 0.95], "rank"),  # a margin of 0.05 where 0.1 is asked for
    ([0.3, 0.1, 0.6, 0.95], "rank"),  # the wrong order
    ([0.1, 0.3, 0.6, 0.89], "success"),  # a successful frame below 0.9
    ([0.1, 0.3, 0.71, 0.95], "success"),  # an unsuccessful one above 0.7
])
def test_each_broken_margin_costs_and_is_mended_by_its_gradient(reward: list[float], part: str):
    sketch, r = tensor([0.0, 0.3, 0.6, 0.95]), tensor(reward, grad=True)
    total, rank, success = sketch_loss(r, sketch, C)
    assert bool(total > 0) and bool(rank > 0) == (part == "rank") and bool(success > 0) == (part == "success")
    total.backward()
    with torch.no_grad():
        assert float(sketch_loss(r - 0.01 * r.grad, sketch, C)[0]) < float(total.detach())


def test_pairs_within_mu_s_give_no_gradient():
    r = tensor([0.9, 0.1, 0.5], grad=True)
    rank = rank_loss(r, tensor([0.3, 0.45, 0.4]), C)
    rank.backward()
    assert bool(rank == 0.0) and not r.grad.any(), "no pair counts: zero, and not the mean of nothing"
    r = tensor([0.6, 0.5, 0.4], grad=True)
    rank_loss(r, tensor([0.0, 0.1, 0.25]), C).backward()
    assert r.grad[0, 1] == 0.0 and r.grad[0, 0] > 0 and r.grad[0, 2] < 0, "only the first and the last differ by more than mu_s"


def test_pairs_are_never_made_across_episodes():
    r = tensor([0.9, 0.9], [0.1, 0.1], grad=True)
    assert bool(rank_loss(r, tensor([0.0, 0.0], [0.8, 0.8]), C) == 0.0)


def test_a_frame_at_exactly_tau_s_gives_neither_term():
    r = tensor([0.0, 0.8, 1.0], grad=True)
    loss = success_loss(r, tensor([0.85, 0.85, 0.85]), C)
    loss.backward()
    assert bool(loss == 0.0) and not r.grad.any()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31))
def test_rescaling_a_sketch_on_the_same_sides_changes_nothing(seed: int):
    """Each episode through a monotone map of its own that keeps every pair on its side of mu_s and every frame on its side of tau_s."""
    rng = np.random.default_rng(seed)
    levels = np.array([0.0, 0.3, 0.6, 0.95])
    index = rng.integers(0, 4, (3, 6))
    noise = rng.uniform(0.0, 0.02, index.shape)
    sketch = levels[index] + noise
    changed = np.empty_like(sketch)
    for e in range(3):
        scale = rng.uniform(0.25, 0.28)  # neighbouring levels stay more than mu_s apart, frames of one level within it
        top = rng.uniform(0.87, 0.97)
        changed[e] = np.array([0.0, scale, 2 * scale, top])[index[e]] + noise[e] * rng.uniform(0.1, 1.5)
    a, b, reward = (torch.from_numpy(x.astype(np.float32)) for x in (sketch, changed, rng.random(index.shape)))
    for one, two in ((a, b), (b, a)):
        assert not torch.equal(one, two)
        signs = [((x.unsqueeze(1) - x.unsqueeze(2)) > C.mu_s) for x in (one, two)]
        assert torch.equal(*signs) and torch.equal(one > C.tau_s, two > C.tau_s) and torch.equal(one < C.tau_s, two < C.tau_s)
    assert float(sketch_loss(reward, a, C)[0]) == float(sketch_loss(reward, b, C)[0])


def test_metrics_count_what_they_say():
    counts = Counts()
    counts.add(np.array([0.1, 0.5, 0.4, 0.9]), np.array([0.0, 0.3, 0.6, 0.95], np.float32), C, 0.85)
    counts.add(np.array([0.9, 0.2]), np.array([0.85, 0.9], np.float32), C, 0.85)  # at tau_s: nobody's; and a miss
    assert (counts.pairs, counts.ordered) == (6, 5)
    assert counts.as_dict() == {"pair_accuracy": 5 / 6, "success_precision": 1.0, "success_recall": 0.5}
    assert Counts().as_dict() == {}
