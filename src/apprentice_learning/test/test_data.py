from __future__ import annotations

import numpy as np
import pytest
import torch

from apprentice_core.errors import ConfigError
from apprentice_learning.config import load_train_config
from apprentice_learning.data.augmentation import random_shift
from apprentice_learning.data.columns import observation_specs
from apprentice_learning.data.sampler import Sampler
from apprentice_learning.data.view import View, ViewConfig

CAMERA = "camera/front"
BOTH = [{"name": "expert", "drivers": ["expert"], "ratio": 0.7}, {"name": "watcher", "drivers": ["random_watcher"], "ratio": 0.3}]


def view(columns, **fields) -> View:
    return View(columns, ViewConfig.model_validate({"sources": BOTH, "validation": 0.25} | fields), seed=0)


def owner(columns, rows) -> np.ndarray:
    return np.searchsorted(columns.episode_starts, rows, side="right") - 1


def test_columns_lay_episodes_end_to_end(columns, episodes):
    for i, e in enumerate(episodes):
        a, b = columns.episode_starts[i : i + 2]
        assert b - a == len(e) + 1
        np.testing.assert_array_equal(columns.columns[CAMERA][a:b], e.observations[CAMERA])
        np.testing.assert_array_equal(columns.columns["action/executed"][a : b - 1], e.actions["executed"])
    assert [s.name for s in observation_specs(columns)] == [CAMERA, "tool/pose"]


def test_ratios_are_exact_over_batches(columns):
    v = view(columns)
    sampler = Sampler(v, ("tool/pose",), 8, 0, needs_next=False)  # 5.6 and 2.4 rows a batch
    total = np.zeros(2)
    for n in range(1, 51):
        rows = sampler.sample_rows()
        assert len(rows) == 8
        sources = np.array([columns.episodes[i].source for i in owner(columns, rows)])
        total += [(sources == "expert").sum(), (sources == "random_watcher").sum()]
        assert np.abs(total - np.array([0.7, 0.3]) * 8 * n).max() < 1
    assert total.tolist() == [280, 120]


def test_no_transition_crosses_an_episode_end(columns):
    v = view(columns)
    sampler = Sampler(v, ("tool/pose",), 64, 0, needs_next=True)
    for _ in range(30):
        rows = sampler.sample_rows()
        np.testing.assert_array_equal(owner(columns, rows), owner(columns, rows + 1))
    batch = sampler.batch(rows, augment=False)
    np.testing.assert_array_equal(batch.next_observation["tool/pose"].numpy(), columns.columns["tool/pose"][rows + 1])


def test_validation_holds_out_whole_episodes(columns):
    v = view(columns)
    for split in v.splits.values():
        train, held = set(owner(columns, split.train)), set(owner(columns, split.validation))
        assert train and held and not train & held
    again = view(columns)
    np.testing.assert_array_equal(v.splits["expert"].train, again.splits["expert"].train)
    assert len(list(Sampler(v, ("tool/pose",), 8, 0, False).validation(10))) == 2


def test_time_out_keeps_its_discount_and_success_ends(columns, episodes):
    v = view(columns)
    for i, e in enumerate(episodes):
        last = columns.episode_starts[i + 1] - 2
        assert v.discount[last] == (0.0 if e.outcome.success else 1.0)


def test_success_terminal_ends_a_truncated_success(columns, episodes):
    loose = dict(columns.columns)
    loose["discount"] = np.ones_like(loose["discount"])
    from dataclasses import replace

    data = replace(columns, columns=loose)
    kept, ended = view(data), view(data, success_terminal=True)
    assert kept.discount.min() == 1.0
    assert (ended.discount == 0).sum() == sum(e.outcome.success for e in episodes)


def test_a_safety_abort_ends_where_the_view_says_so(columns):
    """Recorded it is truncated (spec 001c section 1.2); to the agents of spec 000 (section 8) it is terminal."""
    from dataclasses import replace

    reasons = ["force_limit", "estop", "horizon", "force_limit"]
    infos = [replace(e, success=False, reason=r, cut=k == 3) for k, (e, r) in enumerate(zip(columns.episodes, reasons, strict=False))]
    data = replace(
        columns, columns={**columns.columns, "discount": np.ones_like(columns.columns["discount"])},
        episodes=[*infos, *columns.episodes[len(infos) :]],
    )
    last = columns.episode_starts[1:5] - 2
    assert view(data).discount[last].tolist() == [1, 1, 1, 1]
    ended = view(data, abort_terminal=True).discount
    assert ended[last].tolist() == [0, 0, 1, 1] and (ended == 0).sum() == 2
    assert all(load_train_config(name).view.abort_terminal for name in ("d4pg", "d4pg_small", "d4pg_lowdim", "d4pg_lowdim_stack"))


def test_action_and_reward_are_what_the_view_says(columns):
    v = view(columns, action="source", reward="scripted/sparse", reward_scale=2.0, reward_shift=-1.0)
    rows = v.splits["expert"].train
    np.testing.assert_array_equal(v.action[rows], columns.columns["action/source"][rows])
    np.testing.assert_allclose(v.reward[rows], columns.columns["reward/scripted/sparse"][rows] * 2 - 1)
    assert not np.array_equal(view(columns).action[rows], v.action[rows])


def test_success_filter(columns):
    v = view(columns, sources=[{"name": "good", "outcome": "success"}])
    rows = np.concatenate([v.splits["good"].train, v.splits["good"].validation])
    assert all(columns.episodes[i].success for i in set(owner(columns, rows)))


@pytest.mark.parametrize("fields", [
    {"sources": [{"name": "nobody", "drivers": ["ghost"]}]}, {"reward": "scripted/absent"}, {"task": "other"},
])
def test_what_is_missing_is_named(columns, fields):
    with pytest.raises(ConfigError, match=r"ghost|absent|expert"):
        view(columns, **fields)


def test_ratios_must_add_up():
    with pytest.raises(ValueError, match="add up"):
        ViewConfig.model_validate({"sources": [{"name": "a", "ratio": 0.5}]})


def test_random_shift_moves_and_repeats_edges():
    images = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    out = np.empty_like(images)
    seen = set()
    g = np.random.default_rng(0)
    for _ in range(40):
        random_shift(images, 2, g, out)
        padded = np.pad(images[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
        matches = [(y, x) for y in range(5) for x in range(5) if np.array_equal(out[0], padded[y : y + 6, x : x + 8])]
        assert matches
        seen |= set(matches)
    assert len(seen) > 12


def test_sampler_state_resumes_the_draw(columns):
    a = Sampler(view(columns), ("tool/pose", CAMERA), 8, 0, needs_next=True, shift=2)
    a.sample()
    import json

    state = json.loads(json.dumps(a.state))
    expected = a.sample()
    image, action = expected.observation[CAMERA].clone(), expected.action.clone()
    b = Sampler(view(columns), ("tool/pose", CAMERA), 8, 99, needs_next=True, shift=2)
    b.state = state
    got = b.sample()
    assert torch.equal(got.observation[CAMERA], image) and torch.equal(got.action, action)
