"""The method cells, their goals and configs; the runs themselves are long (a tiny one is in test_insertion_run.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from apprentice_core.errors import ApprenticeError
from apprentice_learning.online.config import load_online_config
from apprentice_workflows.cli.app import app
from apprentice_workflows.insertion.goals import ABOVE, PERTURBATION, Goal, executions
from apprentice_workflows.insertion.methods import CONNECTORS, METHODS, find, method
from apprentice_workflows.insertion.rig import REWARDS
from apprentice_workflows.insertion.settings import settings
from apprentice_workflows.insertion.table import rows
from apprentice_workflows.insertion.training import online_config


def test_there_are_the_thirteen_methods_and_their_rates() -> None:
    assert len(METHODS) == 13
    assert METHODS["p_controller"].rates["model_e"] == (0.52, 0.24)
    assert METHODS["residual_images_sac"].rates == {"usb": (1.0, 0.8), "dsub": (1.0, 0.64), "model_e": (1.0, 0.76)}
    for m in METHODS.values():
        assert set(m.rates) == set(m.connectors)


def test_methods_are_found_by_what_they_are() -> None:
    assert find("residual", "sparse").name == "residual_sparse_sac" and find("residual", "sparse", "td3").name == "residual_sparse_td3"
    assert find("base", "images").name == "p_controller" and find("demos", "images").name == "demos_images"
    with pytest.raises(ApprenticeError, match="algorithms there: sac"):
        find("pure", "dense", "td3")
    with pytest.raises(ApprenticeError, match="known: pure_dense"):
        method("magic")


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.learner])
def test_every_learning_method_has_a_config_that_fits_it(name: str) -> None:
    m = METHODS[name]
    config = online_config(m, settings("small"), 3)
    assert config.seed == 3 and config.steps == 5000 and config.learner.algorithm == m.learner.removesuffix("_demos")
    if m.setting == "images":  # B7: pixels and nothing else
        assert config.network.arrays == ("camera/side",)
    else:  # B10
        assert config.network.proprio == ("tool/pose[0:3]", "wrist/wrench[2:3]") and not config.network.cameras
    assert config.reward_scale == (0.1 if m.setting == "dense" else 1.0)
    assert bool(config.prior_batch) == (m.family == "demos") and config.action == ("executed" if m.family == "demos" else "residual")


@pytest.mark.parametrize(("name", "setting"), [
    ("sac_residual", "sparse"), ("td3_residual", "sparse"), ("td3_demos", "sparse"), ("sac_residual_images", "images"),
])
def test_a_config_by_itself_names_a_reward_that_a_cell_gives(name: str, setting: str) -> None:
    assert load_online_config(name).reward == REWARDS[setting]


def test_noise_is_a_millimetre_aside_on_the_commanded_goal_and_moves_the_start() -> None:
    perfect, noisy = executions((0.6, 0.0, 0.07), 25, False, 0), executions((0.6, 0.0, 0.07), 25, True, 0)
    assert all(g.commanded == (0.6, 0.0, 0.07) for g in perfect)
    offsets = np.array([g.offset for g in noisy])
    assert (np.abs(offsets[:, :2]) == PERTURBATION).all() and (offsets[:, 2] == 0).all()
    assert len({tuple(o) for o in offsets.tolist()}) == 4  # both signs of both axes
    told = noisy[0].metadata()
    np.testing.assert_allclose(np.array(told["start"]["tool"]) - told["goal"]["position"], [0.0, 0.0, ABOVE])
    assert told["goal_true"] == [0.6, 0.0, 0.07] and told["goal"]["position"] != told["goal_true"]
    assert [g.offset for g in executions((0.6, 0.0, 0.07), 25, True, 0)] == [g.offset for g in noisy]


def test_noise_of_the_socket_leaves_the_command_alone() -> None:
    told = Goal((0.6, 0.0, 0.07), (0.001, -0.001, 0.0), "socket").metadata()
    assert told["goal"]["position"] == [0.6, 0.0, 0.07] and told["socket_offset"] == [0.001, -0.001, 0.0]


def test_table_shows_ours_beside_the_thesis_and_nothing_that_was_not_run() -> None:
    def result(perfect: int, noisy: int) -> dict[str, dict[str, int]]:
        return {"perfect": {"successes": perfect, "trials": 25}, "noisy": {"successes": noisy, "trials": 25}}

    shown = rows({("p_controller", "usb"): [result(25, 10), result(20, 15)], ("pure_sparse_sac", "usb"): [result(1, 0)]})
    assert [r[0] for r in shown] == ["Pure RL, sparse, SAC", "Human P-controller"]
    assert shown[1][1] == "90 / 50  (100 / 60)" and shown[1][2] == "  (100 / 44)" and shown[1][-1] == "2"
    assert shown[0][2] == "-"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rca"], "no connector 'rca'; known: usb, dsub, model_e, all"),
        (["usb", "--reward", "smell"], "--reward 'smell'"),
        (["dsub", "--residual"], "only usb tells whether it is in"),
        (["usb", "--method", "magic"], "no insertion method 'magic'"),
        (["usb", "--preset", "huge"], "no insertion preset 'huge'"),
        (["usb", "--noise", "white"], "--noise 'white'"),
    ],
)
def test_wrong_words_are_refused_by_name(words: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["insertion", *words, "-o", str(tmp_path)])
    assert isinstance(result.exception, ApprenticeError) and said in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_connectors_are_in_their_order_of_difficulty() -> None:
    noisy = [METHODS["p_controller"].rates[c][1] for c in CONNECTORS]
    assert noisy == sorted(noisy, reverse=True)
