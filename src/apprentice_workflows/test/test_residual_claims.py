"""Arms and verdicts of A-E1 to A-E5; one tiny run of each kind of arm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apprentice_workflows.experiments.registry import experiment
from apprentice_workflows.experiments.residual import claims
from apprentice_workflows.experiments.residual.arms import Arm, World, config_of, run_arm
from apprentice_workflows.experiments.residual.claims import (
    ALONE,
    HAND,
    PRESETS,
    RESIDUAL,
    arm_of,
    final_return,
    flat_while_base_falls,
    separated,
    steps_to,
)


def runs(*means: float, learner: str = "td3") -> list[dict[str, Any]]:
    return [{"arm": {"learner": learner}, "returns": [m, m], "successes": 1, "trials": 2, "spread": 0.1, "curve": []} for m in means]


def test_a_difference_needs_three_seeds_and_intervals_apart() -> None:
    assert separated(runs(-1.0, -1.1, -0.9), runs(-3.0, -3.1, -2.9)) == "holds"
    assert separated(runs(-3.0, -3.1, -2.9), runs(-1.0, -1.1, -0.9)) == "does not hold"
    assert separated(runs(-1.0, -1.1), runs(-3.0, -3.1)) == "undecided"
    assert separated(runs(-1.0, -3.0, -2.0), runs(-2.0, -2.1, -1.9)) == "undecided"


def test_flatness_is_judged_against_what_the_base_loses() -> None:
    base = [runs(*[v] * 20, learner="") for v in (-1.0, -3.0, -6.0)]
    for i, b in enumerate(base):  # a controller has episodes and no seeds: its own spread makes its interval
        b[0]["returns"] = [v + 0.01 * k for k, v in enumerate([(-1.0, -3.0, -6.0)[i]] * 20)]
    flat = [runs(-1.0, -1.1, -0.9), runs(-1.2, -1.1, -1.3), runs(-1.3, -1.4, -1.2)]
    falling = [runs(-1.0, -1.1, -0.9), runs(-2.0, -2.1, -1.9), runs(-4.0, -4.1, -3.9)]
    assert flat_while_base_falls([b[:1] for b in base], flat) == "holds"
    assert flat_while_base_falls([b[:1] for b in base], falling) == "does not hold"
    assert flat_while_base_falls([b[:1] for b in base[::-1]], flat) == "undecided"


def test_steps_to_a_level_are_counted_where_the_mean_of_episodes_reaches_it() -> None:
    curve = [[50 * (i + 1), -10.0 + i, 0.0] for i in range(20)]
    assert steps_to([{"curve": curve}], 0.0, window=5) == [650] and steps_to([{"curve": curve}], 20.0, window=5) == [None]


def test_arms_differ_in_base_or_learner_alone() -> None:
    s, world = PRESETS["small"], World(0.3)
    hand, alone, residual = (arm_of(who, world, s) for who in (HAND, ALONE, RESIDUAL))
    assert (hand.base, hand.learner) == ("hand_controller", "") and (alone.base, alone.learner) == ("null_controller", "td3")
    assert (residual.base, residual.learner, residual.steps) == ("hand_controller", "td3", alone.steps)
    assert len({a.key(0) for a in (hand, alone, residual)} | {residual.key(1)}) == 4
    assert Arm("x", World(0.1)).key(0) != Arm("x", World(0.2)).key(0)
    one, other = config_of(residual, 3), config_of(alone, 3)
    assert one.model_copy(update={"name": other.name}) == other and one.reward == "scripted/assembly"


def test_an_arm_is_run_once_and_read_after(tmp_path: Path) -> None:
    told: list[str] = []
    arm = Arm("residual RL", World(0.3, mean=0.1, sigma=0.05), steps=100)
    first = run_arm(arm, 0, tmp_path, 1, lambda done, total, note: told.append(note))
    assert len(first["curve"]) == 2 and first["trials"] == 1 and first["spread"] > 0 and Path(first["bundle"]).is_dir()
    again = run_arm(arm, 0, tmp_path, 1, lambda done, total, note: pytest.fail("it was run again"))
    assert json.dumps(again) == json.dumps(first)
    base = run_arm(Arm("hand-designed", World(0.0), learner="", steps=0), 0, tmp_path, 2, lambda *_: None)
    assert base["curve"] == [] and base["successes"] == 2 and final_return([base])[0] > -2.0


def test_the_experiments_are_registered() -> None:
    for name in ("efficiency", "rotation", "noise", "bias", "real_style", "sim_to_real"):
        assert set(experiment(f"residual_{name}").presets) == set(PRESETS)


def test_sweeps_go_over_the_thesiss_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(claims, "_sweep", lambda preset, data, out, claim, axis, points, judge: asked.update({axis: points}))
    for sweep in (claims.rotation, claims.noise, claims.bias):
        sweep("paper", tmp_path, tmp_path)
    points = {axis: list(of(PRESETS["paper"])) for axis, of in asked.items()}
    assert [v for v, _ in points["rotation"]] == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert all(w == World(v) for v, w in points["rotation"])
    assert (points["sigma"][0][0], points["sigma"][-1][0]) == (0.01, 0.1) and all(w == World(0.0, sigma=v) for v, w in points["sigma"])
    assert (points["mu"][0][0], points["mu"][-1][0]) == (0.0, 0.2) and all(w == World(0.0, mean=v, sigma=0.05) for v, w in points["mu"])
    assert len(PRESETS["paper"].seeds) == 10
