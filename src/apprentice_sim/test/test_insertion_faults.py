"""What goes wrong in the middle of an insertion (spec 001c, X2, X5, X6, X13): the socket moves, the plug is lost, the sensor is at its end,
somebody stops the cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apprentice_control.arm_loop import ArmLoop
from apprentice_control.base import ControllerSource, make_controller
from apprentice_control.estop import EstopLatch
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.cell_factory import effective_limits
from apprentice_core.errors import SafetyError
from apprentice_core.streams import CONNECTED
from apprentice_sim.sim_cell import SimCell

MIDDLE = 9
"""a step at which the P-controller has the plug in the socket's mouth or deeper"""


class Disturbed:
    """The P-controller, until something happens at a step."""

    name, needs_privileged, bundle_id = "disturbed", False, ""

    def __init__(self, cell: SimCell, happens: Callable[[], None], at: int = MIDDLE):
        space = cell.spec.action_space
        self.base = ControllerSource(make_controller("p_controller", cell.profile, 0.01), space)
        self.happens, self.at, self.steps, self.forces = happens, at, 0, []

    def reset(self, context):
        self.base.reset(context)
        self.steps, self.forces = 0, []

    def act(self, observation, segment, privileged=None):
        if self.steps == self.at:
            self.happens()
        self.steps += 1
        self.forces.append(float(np.abs(observation["wrist/wrench"][:3]).max()))
        return self.base.act(observation, segment)

    def observe(self, observation, executed):
        pass


@pytest.fixture
def usb() -> Iterator[SimCell]:
    cell = SimCell("sawyer_insertion", "insert_usb", cameras=False)
    yield cell
    cell.close()


def run(cell: SimCell, source: Disturbed, mode: str = "full", seed: int = 1, steps: int = 25):
    cell.sources["disturbed"] = source
    goal = cell.world.scene.tool_goal
    metadata = {"goal": {"position": goal.tolist()}, "start": {"tool": (goal + np.array([0.0, 0.0, 0.05])).tolist()}}
    return cell.run(EpisodeRequest("insert_usb", "disturbed", ResetRequest(mode, seed=seed), steps=steps, metadata=metadata))


def test_a_socket_that_moves_in_mid_episode_is_pressed_no_harder_than_the_gate_allows(usb: SimCell) -> None:
    hard = effective_limits(usb.profile, usb.cell, usb.task_config).force_hard
    # Before the plug is in: it comes down on the board beside the mouth.
    source = Disturbed(usb, lambda: usb.world.shift(["socket", "contacts"], [0.012, 0.0, 0.0]), at=3)
    ref = run(usb, source)
    assert not ref.success and usb.observe()[CONNECTED].tolist() == [0.0]
    assert max(source.forces) > 2.0, "it did meet what it did not expect"
    assert max(source.forces) < hard
    again = run(usb, Disturbed(usb, lambda: None))
    assert again.success, "the next reset puts the cell in order"


def test_a_plug_that_is_lost_in_mid_episode_calls_for_a_person(usb: SimCell) -> None:
    ref = run(usb, Disturbed(usb, lambda: usb.world.grip.release(), at=2))
    assert not ref.success
    refused = run(usb, Disturbed(usb, lambda: None), mode="robot", seed=2, steps=3)
    assert refused.episode_id == "" and refused.reason.startswith("reset_failed: operator needed"), refused
    assert run(usb, Disturbed(usb, lambda: None)).success, "a person, or a reset of the scene, puts it back"


@pytest.mark.parametrize(("reading", "reason"), [(1000.0, "force_limit"), (float("nan"), "horizon")])
def test_a_sensor_at_its_end_or_without_a_number_ends_the_push(usb: SimCell, monkeypatch, reading: float, reason: str) -> None:
    """At its end: abandoned, as any force beyond the hard limit. Without a number it is silent: the arm holds where it is."""
    read, broken = usb.backend.read, [False]

    def reads():
        state = read()
        return replace(state, wrench=np.array([0.0, 0.0, reading, 0.0, 0.0, 0.0])) if broken[0] else state

    monkeypatch.setattr(usb.backend, "read", reads)
    height = []

    def breaks() -> None:
        broken[0] = True
        height.append(float(usb.observe()["tool/pose"][2]))

    ref = run(usb, Disturbed(usb, breaks, at=5))
    assert ref.reason == reason and not ref.success, ref
    assert ref.steps <= (8 if reason == "force_limit" else 25)
    fallen = height[0] - float(usb.observer.proprioception()["tool/pose"][2])
    assert fallen < 0.006, "it did not go on down, where the controller would have it 2 cm lower"


def test_an_emergency_stop_while_inserting_outlives_the_process(usb: SimCell, tmp_path: Path) -> None:
    usb.loop.estop = EstopLatch(tmp_path / "estop.json")
    ref = run(usb, Disturbed(usb, lambda: usb.loop.estop.latch("hand in the cell", "test")))
    assert ref.truncated and not ref.success and ref.reason == "estop", ref
    assert ref.steps <= MIDDLE + 2
    # A process that starts anew on the same folder: nothing moves until a person has reset it.
    latch = EstopLatch(tmp_path / "estop.json")
    assert latch.latched and "hand in the cell" in latch.reason
    anew = ArmLoop(usb.profile, effective_limits(usb.profile, usb.cell, usb.task_config), usb.backend, 0.1, estop=latch)
    with pytest.raises(SafetyError, match="hand in the cell"):
        anew.engage()
    latch.reset()
    anew.engage()
