"""The wheel's definition, state and choices, without episodes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from apprentice_core.cell import EpisodeRef
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.paths import config_path
from apprentice_workflows.episodes import EVALUATION_SEED, Tally
from apprentice_workflows.wheel.config import AgentPlan, load_wheel
from apprentice_workflows.wheel.context import AGENT_SEED, DEMO_SEED, OTHER_SEED, TRIAL_SEED, WATCHER_SEED
from apprentice_workflows.wheel.evaluation import evaluation_starts
from apprentice_workflows.wheel.execution import choose, shortlist
from apprentice_workflows.wheel.state import WheelState

IDENTITY = {"wheel": "lift_green", "preset": "tiny"}


@pytest.mark.parametrize("name", ["lift_green", "stack_green_on_red", "lift_cloth"])
def test_wheels_load_and_name_only_what_there_is(name: str) -> None:
    wheel = load_wheel(name)
    assert {"paper", "small"} <= set(wheel.presets) and set(wheel.paper) == set(wheel.evaluation_sets)
    assert wheel.numbers("paper").episode_steps == 200 and wheel.numbers("paper").failing == 0.15
    with pytest.raises(ApprenticeError, match="no preset 'huge'; known: paper"):
        wheel.numbers("huge")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cameras": ["ceiling"]}, r"cameras: task lift_green does not record 'ceiling'"),
        ({"proprio": ["object/green/pose"]}, r"proprio: task lift_green does not record 'object/green/pose'"),
        ({"evaluation_sets": ["easy"]}, "has no set 'easy'"),
        ({"watcher": "random_watcher_cloth"}, "watcher: random_watcher_cloth is not a task of scene 'lift'"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_wheel_is_refused_by_field(tmp_path: Path, change: dict, said: str) -> None:
    fields = yaml.safe_load(config_path("wheels", "lift_green").read_text()) | change
    path = tmp_path / "wheel.yaml"
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match=said):
        load_wheel(str(path))


def test_other_tasks_must_fit_the_cell(tmp_path: Path) -> None:
    fields = yaml.safe_load(config_path("wheels", "lift_green").read_text())
    fields["presets"]["tiny"]["other_tasks"] = {"pick_place": 2}
    path = tmp_path / "wheel.yaml"
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match=r"presets.tiny.other_tasks: pick_place is not a task of scene 'lift'"):
        load_wheel(str(path))


def test_a_step_is_done_once_for_equal_inputs(tmp_path: Path) -> None:
    state, calls = WheelState(tmp_path, IDENTITY), []

    def work() -> dict:
        calls.append(1)
        return {"n": len(calls)}

    assert state.run(1, "A", {"episodes": 3}, work) == ({"n": 1}, True)
    again = WheelState(tmp_path, IDENTITY)
    assert again.run(1, "A", {"episodes": 3}, work) == ({"n": 1}, False)
    assert again.run(1, "A", {"episodes": 4}, work) == ({"n": 2}, True)
    with pytest.raises(ApprenticeError, match=r"step D \(reward model\) of turn 1 has not been done yet"):
        again.outputs(1, "D")


def test_what_a_step_has_drawn_outlives_an_interruption(tmp_path: Path) -> None:
    state = WheelState(tmp_path, IDENTITY)
    assert state.partial(1, "C", "x", lambda: {"ids": [1, 2]}) == {"ids": [1, 2]}
    with pytest.raises(KeyboardInterrupt):
        state.run(1, "C", "x", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    later = WheelState(tmp_path, IDENTITY)
    assert not later.done(1, "C") and later.partial(1, "C", "x", lambda: {"ids": [9]}) == {"ids": [1, 2]}
    assert later.partial(1, "C", "other inputs", lambda: {"ids": [9]}) == {"ids": [9]}


def test_a_foreign_or_damaged_state_is_refused(tmp_path: Path) -> None:
    WheelState(tmp_path, IDENTITY)
    (tmp_path / ".state.123").write_text("half a fi")  # what a kill while writing leaves
    assert WheelState(tmp_path, IDENTITY).steps == {}
    with pytest.raises(ApprenticeError, match="use another --out"):
        WheelState(tmp_path, {**IDENTITY, "preset": "paper"})
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ApprenticeError, match="is not readable"):
        WheelState(tmp_path, IDENTITY)


def test_seeds_of_different_purposes_never_meet() -> None:
    firsts = sorted([DEMO_SEED, WATCHER_SEED, OTHER_SEED, TRIAL_SEED, AGENT_SEED, EVALUATION_SEED])
    largest = max(n for w in ("lift_green", "stack_green_on_red") for n in load_wheel(w).numbers("paper").other_tasks.values())
    assert min(np.diff(firsts)) > 9 * 10_000 and largest < 10_000


def _trial(name: str, score: float, successes: int) -> tuple[dict, Tally]:
    refs = [EpisodeRef(str(i), "", 5, i < successes, False, True, "horizon") for i in range(4)]
    return {"name": name, "score": score}, Tally(name, refs)


def test_agents_are_shortlisted_by_validation_and_chosen_by_trial() -> None:
    agents = [{"name": n, "score": s} for n, s in (("a", -2.0), ("b", -1.0), ("c", None), ("d", -1.0))]
    assert [a["name"] for a in shortlist(agents, 4)] == ["b", "d", "a", "c"] and len(shortlist(agents, 2)) == 2
    assert choose([_trial("b", -1, 1), _trial("d", -1, 3), _trial("a", -2, 3)])["name"] == "d"


def test_evaluation_starts() -> None:
    task = load_wheel("lift_green").task_config()
    named = evaluation_starts(task, ("normal", "unseen"), 0)
    assert [s.initial_state for s in named["normal"]] == [f"normal/n{i}" for i in range(10)]
    varied = evaluation_starts(task, ("hard",), 34)["hard"]
    assert len({s.seed for s in varied}) == 34 and {s.initial_state for s in varied} == {"hard"}
    assert all(s.seed is not None and s.seed >= EVALUATION_SEED for s in varied)
    cloth = load_wheel("lift_cloth").task_config()
    for repeats, count in ((0, 50), (7, 7)):
        drawn = evaluation_starts(cloth, ("random",), repeats)["random"]
        assert len({s.seed for s in drawn}) == count and {s.initial_state for s in drawn} == {"random"}


@pytest.mark.skipif(not (config_path("tasks", "lift").parents[1] / "learning" / "d4pg_small.yaml").is_file(), reason="no D4PG config yet")
@pytest.mark.parametrize("ablation", ["", "task_only", "without_random_watcher", "scalar_critic"])
def test_an_ablation_changes_one_thing(ablation: str) -> None:
    from apprentice_workflows.wheel.learning import agent_config

    class Context:
        config = load_wheel("lift_green")

    made = agent_config(Context(), AgentPlan(config="d4pg_small", ablation=ablation), "0123456789abcdef")  # type: ignore[arg-type]
    full = agent_config(Context(), AgentPlan(config="d4pg_small"), "0123456789abcdef")  # type: ignore[arg-type]
    changed = {
        (k, f) for k in ("view", "network") for f in made[k] if made[k][f] != full[k][f]
    } | {("learner", f) for f in made["learner"]["settings"] if made["learner"]["settings"][f] != full["learner"]["settings"][f]}
    assert changed == {
        "": set(), "task_only": {("view", "sources")}, "without_random_watcher": {("view", "without_drivers")},
        "scalar_critic": {("learner", "critic")},
    }[ablation]
    assert [s["ratio"] for s in full["view"]["sources"]] == [0.75, 0.25] and full["view"]["sources"][1]["tasks"] == ["lift_green"]
    assert made["view"]["reward"] == "model/lift_green" and json.dumps(made)


def test_an_agent_that_the_nodes_would_refuse_is_not_trained_for_them() -> None:
    from apprentice_workflows.wheel.learning import agent_config

    class Context:
        config = load_wheel("lift_green")

        def __init__(self, nodes: bool):
            self.rig = SimpleNamespace(nodes=nodes)

    assert agent_config(Context(False), AgentPlan(config="d4pg_lowdim"), "0123456789abcdef")["name"] == "d4pg_lowdim"  # type: ignore[arg-type]
    with pytest.raises(ApprenticeError, match="d4pg_lowdim reads tracked/object/green/pose"):
        agent_config(Context(True), AgentPlan(config="d4pg_lowdim"), "0123456789abcdef")  # type: ignore[arg-type]
