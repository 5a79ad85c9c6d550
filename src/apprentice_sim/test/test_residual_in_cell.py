"""A base controller and a residual in the cell of one process, over the connector board (spec 001c A1-A4, A9, A17, B27)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from apprentice_control.base import ControllerSource, NullController, PController
from apprentice_control.kinematics import Kinematics
from apprentice_control.scripted import ToolReset
from apprentice_core.cell import OPERATOR_NEEDED, EpisodeRequest, ResetRequest, SourceAction
from apprentice_core.episode import EpisodeContext, EpisodeOutcome, Segment, StepRecord
from apprentice_core.errors import ApprenticeError
from apprentice_core.rewards import DenseReward
from apprentice_core.spaces import Observation
from apprentice_sim.sim_cell import SimCell

GOAL, START = [0.6, 0.0, 0.07], [0.6, 0.0, 0.12]
METADATA: dict[str, Any] = {"goal": {"position": GOAL}, "start": {"tool": START}}


class Memory:
    def __init__(self) -> None:
        self.contexts: list[EpisodeContext] = []
        self.steps: list[StepRecord] = []
        self.tool: list[np.ndarray] = []

    def start(self, context: EpisodeContext, spec: Any) -> None:
        self.contexts.append(context)

    def step(self, observation: Observation, record: StepRecord, stamp: float) -> None:
        self.steps.append(record)
        self.tool.append(observation["tool/pose"][:3])

    def end(self, observation: Observation, outcome: EpisodeOutcome, stamp: float) -> str:
        self.tool.append(observation["tool/pose"][:3])
        return "kept"


class Residual:
    """Always the same residual and noise."""

    name, needs_privileged, bundle_id = "residual", False, "r1"

    def __init__(self, values: list[float], noise: list[float] | None = None):
        self.values, self.noise = np.float32(values), None if noise is None else np.float32(noise)

    def reset(self, context: EpisodeContext) -> None: ...

    def act(self, observation: Observation, segment: Segment, privileged: dict | None = None) -> SourceAction:
        assert privileged is None
        return SourceAction(self.values, self.noise)

    def observe(self, observation: Observation, executed: np.ndarray) -> None: ...


@pytest.fixture(scope="module")
def cell() -> Iterator[SimCell]:
    sim = SimCell("sawyer_insertion", "insert_usb", cameras=False, rewards=[DenseReward(np.eye(3))])
    space = sim.spec.action_space
    sim.sources |= {
        "base": ControllerSource(PController(0.01), space), "zero": ControllerSource(NullController(0.01), space, "zero"),
        "nan": Residual([np.nan, 0, 0]), "aside": Residual([0.5, 0.0, 0.0], [0.25, 0.0, 0.75]),
        "withdraw": ToolReset(sim.profile, Kinematics(sim.profile)),
    }
    yield sim
    sim.close()


def play(cell: SimCell, source: str, steps: int = 12, reset: str = "full", **metadata: Any) -> Memory:
    sink = Memory()
    cell.sink = sink  # type: ignore[assignment]
    ref = cell.run(EpisodeRequest("", source, ResetRequest(reset, seed=5), steps, metadata={**METADATA, **metadata}))  # type: ignore[arg-type]
    cell.sink = None
    assert ref.path == "kept", ref
    return sink


def test_a_residual_of_zeros_moves_the_arm_as_the_base_does_bit_for_bit(cell: SimCell) -> None:
    alone, mixed = play(cell, "base"), play(cell, "base+zero")
    np.testing.assert_array_equal(alone.tool, mixed.tool)
    for a, b in zip(alone.steps, mixed.steps, strict=True):
        assert a.actions["executed"].tobytes() == b.actions["executed"].tobytes()
        assert b.actions["base"].tobytes() == a.actions["source"].tobytes()
    assert mixed.contexts[0].metadata["base_hash"] == PController(0.01).version_hash
    assert np.linalg.norm(alone.tool[0] - START) < 1e-3 and alone.tool[-1][2] < GOAL[2] + 0.015


def test_all_parts_of_a_mixed_action_are_on_record(cell: SimCell) -> None:
    step = play(cell, "base+aside", 2).steps[0]
    np.testing.assert_allclose(step.actions["residual"], [0.5, 0, 0])
    np.testing.assert_allclose(step.actions["noise"], [0.25, 0, 0.75])
    np.testing.assert_allclose(step.actions["base"], [0, 0, -1], atol=0.02)
    np.testing.assert_allclose(step.actions["mixed"], step.actions["base"] + [0.75, 0, 0.75], atol=1e-6)
    assert step.bundle_id == "r1" and step.actor == "base" and not step.fault
    dense = step.rewards["dense/distance"]
    assert dense.value == pytest.approx(-100 * 0.055, abs=1.0), "the reward knows the segment's goal"


def test_a_broken_residual_leaves_the_base(cell: SimCell) -> None:
    alone, broken = play(cell, "base", 4), play(cell, "base+nan", 4)
    np.testing.assert_array_equal(alone.tool, broken.tool)
    assert all("nan" in s.fault for s in broken.steps)


def test_noise_on_the_command_is_the_seed_s_and_gone_afterwards(cell: SimCell) -> None:
    noise = {"mean": 0.2, "sigma": 0.05}
    first, again, quiet = (play(cell, "base+zero", 4, **d) for d in ({"disturbance": noise}, {"disturbance": noise}, {}))
    np.testing.assert_array_equal(first.tool, again.tool)
    added = np.array([next(s.after for s in r.stages if s.name == "disturbance") for r in first.steps])
    added -= np.array([r.actions["mixed"] for r in first.steps])
    assert 0.1 < added.mean() < 0.3 and not first.steps[0].actions["noise"].any(), "it is no noise of the learner's"
    assert not any(s.name == "disturbance" for r in quiet.steps for s in r.stages)
    assert first.tool[-1][0] > quiet.tool[-1][0] + 0.001


def test_a_base_controller_that_is_not_the_buffer_s_moves_nothing(cell: SimCell) -> None:
    sink = play(cell, "base", 5, base_hash="PController/0")
    assert not sink.steps
    with pytest.raises(ApprenticeError, match="nobody"):
        cell.run(EpisodeRequest("", "base+nobody"))


def test_the_reset_draws_the_plug_out_and_brings_it_to_the_start(cell: SimCell) -> None:
    play(cell, "base", 25)
    inside = cell.observe()["tool/pose"][2]
    sink = play(cell, "withdraw", 100, reset="none")
    assert inside < START[2] - 0.03
    np.testing.assert_allclose(sink.tool[-1], START, atol=1e-3)
    withdraw = cell.sources["withdraw"]
    assert isinstance(withdraw, ToolReset) and not withdraw.failure and len(sink.steps) < 40
    held = cell.privileged()["object/plug/pose"][:3] - cell.observe()["tool/pose"][:3]
    assert np.abs(held[:2]).max() < 0.004, "the plug is still in the hand"


def test_a_hard_force_truncates_the_episode_and_terminates_nothing(cell: SimCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell.loop.force_gate, "hard", 6.0)
    sink = Memory()
    cell.sink = sink  # type: ignore[assignment]
    beside = {**METADATA, "goal": {"position": [0.604, 0.0, 0.06]}}
    ref = cell.run(EpisodeRequest("", "base", ResetRequest("full", seed=5), 40, metadata=beside))
    cell.sink = None
    assert (ref.terminated, ref.truncated, ref.reason) == (False, True, "force_limit") and ref.steps < 40
    assert sink.steps[-1].outcome == "retreat" and all(s.discount == 1.0 for s in sink.steps)


def test_a_jammed_plug_is_taken_out_by_hand(cell: SimCell, monkeypatch: pytest.MonkeyPatch) -> None:
    play(cell, "base", 20)
    with monkeypatch.context() as patched:
        patched.setattr(cell._home, "patience", 1)
        stuck = cell.reset(ResetRequest("full", seed=1), START)
        assert not stuck.ok and stuck.tries == 1 and stuck.reason.startswith(OPERATOR_NEEDED) and "jammed" in stuck.reason
        helped = cell.reset(ResetRequest("operator", seed=1), START)
    assert helped.ok and np.linalg.norm(cell.observe()["tool/pose"][:3] - START) < 1e-3
    plain = cell.reset(ResetRequest("full", seed=1), START)
    assert plain.ok, "and the cell goes on by itself"
