"""Verdicts, results and the registry of experiments; the runs themselves are long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_workflows.experiments.registry import experiment, experiments
from apprentice_workflows.experiments.result import cell, write_result
from apprentice_workflows.experiments.settings import PRESETS
from apprentice_workflows.experiments.wheel_claims import CLAIMS, judge, reached


@pytest.mark.parametrize(
    ("better", "worse", "margin", "verdict"),
    [
        ((240, 306), (30, 306), 0.2, "holds"),
        ((240, 306), (200, 306), 0.2, "undecided"),
        ((200, 306), (195, 306), 0.2, "does not hold"),
        ((200, 306), (205, 306), -0.1, "holds"),  # a change that is surely less than 10 points of loss does not hurt
        ((100, 306), (200, 306), -0.1, "does not hold"),
        ((2, 3), (0, 3), 0.0, "undecided"),
        ((0, 0), (5, 10), 0.0, "undecided"),
    ],
)
def test_a_claim_is_decided_by_the_interval_of_the_difference(
    better: tuple[int, int], worse: tuple[int, int], margin: float, verdict: str
) -> None:
    assert judge(better, worse, margin)[0] == verdict


def test_the_papers_rates_are_a_bar() -> None:
    assert reached([cell("normal, x", 90, 102, 0.8), cell("unseen, x", 60, 102, 0.5)]) == "holds"
    assert reached([cell("normal, x", 90, 102, 0.8), cell("unseen, x", 48, 102, 0.5)]) == "undecided"
    assert reached([cell("normal, x", 90, 102, 0.8), cell("unseen, x", 30, 102, 0.5)]) == "does not hold"
    assert reached([cell("normal, x", 0, 0, 0.8)]) == "undecided"


def test_a_result_has_the_stable_keys_and_a_plot(tmp_path: Path) -> None:
    table = [cell("normal, full method", 80, 102, 0.8), cell("normal, scalar critic", 30, 102, None)]
    write_result(tmp_path, "claim", table, "holds", (0, 1, 2), {"steps": 1}, 3.21, margin=0.0)
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) == {"claim", "cells", "verdict", "seeds", "config", "commit", "wall_s", "margin"}
    assert set(result["cells"][0]) == {"name", "successes", "trials", "low", "high", "paper"}
    assert result["cells"][0]["low"] < 80 / 102 < result["cells"][0]["high"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_registry_names_what_there_is() -> None:
    assert set(CLAIMS) <= set(experiments()) and {"q4_turns", "q6_ranking", "lift_green"} <= set(experiments())
    assert all(set(e.presets) <= {*PRESETS, "full"} and "small" in e.presets for e in experiments().values())
    with pytest.raises(ApprenticeError, match="no experiment 'q9'; known: q1_all_data"):
        experiment("q9")


def test_enough_episodes_a_cell() -> None:
    for name in ("small", "lowdim", "paper"):
        assert len(PRESETS[name].seeds) * PRESETS[name].repeats >= 100


def test_pixels_trains_other_agents_on_the_same_wheel() -> None:
    pixels, lowdim = PRESETS["pixels"], PRESETS["lowdim"]
    assert pixels.wheel_preset == lowdim.wheel_preset and "pixels" not in experiment("q4_turns").presets
    assert pixels.plan(pixels.agent).config == "d4pg_small"
