"""One answer a tick, whatever the order of arrival."""

from dataclasses import dataclass
from itertools import permutations

from apprentice_control.command_gate import CommandGate


@dataclass
class Answer:
    step_id: int
    episode_id: str = "e"


def test_an_answer_is_obeyed_once():
    gate = CommandGate()
    assert gate.tick(1, "e", False) is None and gate.waiting
    assert gate.action(Answer(1)).step_id == 1
    assert gate.action(Answer(1)) is None and gate.missing(1, "late") is None
    assert gate.dropped == 2 and not gate.waiting


def test_any_order_gives_exactly_one_decision_a_tick():
    for order in permutations(["tick", "action", "missing"]):
        gate = CommandGate()
        calls = {"tick": lambda g=gate: g.tick(7, "e", False), "action": lambda g=gate: g.action(Answer(7)),
                 "missing": lambda g=gate: g.missing(7, "timeout")}
        decisions = [d for d in (calls[name]() for name in order) if d is not None]
        assert len(decisions) == 1 and decisions[0].step_id == 7, order


def test_old_and_foreign_steps_are_dropped():
    gate = CommandGate()
    gate.tick(5, "e", False)
    assert gate.action(Answer(4)) is None
    gate.tick(6, "e", False)
    assert gate.action(Answer(5)) is None and gate.missing(5, "x") is None
    assert gate.tick(6, "e", False) is None
    assert gate.dropped == 4
    assert gate.action(Answer(6)).action.step_id == 6


def test_nobody_acts_on_the_final_tick():
    gate = CommandGate()
    gate.tick(1, "e", True)
    assert gate.action(Answer(1)) is None and not gate.waiting


def test_outside_of_episodes_a_hold_is_free_but_never_inside_a_step():
    gate = CommandGate()
    assert gate.missing(0, "idle").reason == "idle"
    gate.tick(1, "e", False)
    assert gate.missing(0, "idle") is None
    gate.action(Answer(1))
    assert gate.missing(0, "idle") is not None


def test_an_early_answer_of_an_older_step_does_not_pass():
    gate = CommandGate()
    gate.action(Answer(3))
    assert gate.tick(4, "e", False) is None
    assert gate.waiting and gate.dropped == 1
