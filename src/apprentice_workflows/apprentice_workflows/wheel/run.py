"""The wheel: steps A to G of a turn, each skipped when it was done with the same inputs (spec 000 section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apprentice_core.errors import ApprenticeError
from apprentice_workflows.wheel import collection, evaluation, execution, learning, sketching
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.report import write_report
from apprentice_workflows.wheel.state import STEPS, TITLES

Part = tuple[Callable[[WheelContext, int], dict[str, Any]], Callable[[WheelContext, int], dict[str, Any]]]
PARTS: dict[str, Part] = {
    "A": (collection.demonstration_inputs, collection.collect_demonstrations),
    "B": (collection.store_inputs, collection.fill_store),
    "C": (sketching.sketch_inputs, sketching.draw_sketches),
    "D": (learning.reward_inputs, learning.fit_reward),
    "E": (learning.agent_inputs, learning.train_agents),
    "F": (execution.execution_inputs, execution.execute),
    "G": (evaluation.evaluation_inputs, evaluation.evaluate),
}
"""step: what decides its result, and the work"""


def run_step(c: WheelContext, turn: int, step: str) -> bool:
    """One step; whether there was work to do. ApprenticeError when a step that it builds on has not been done."""
    inputs, work = PARTS[step]
    outputs, worked = c.state.run(turn, step, inputs(c, turn), lambda: work(c, turn))
    c.console.print(f"turn {turn}, {step} ({TITLES[step]}): {'done' if worked else 'done already'}{_told(step, outputs)}", highlight=False)
    return worked


def run_wheel(c: WheelContext, turns: int, only: str = "", turn: int = 0) -> None:
    """Turns 1 to `turns` whole; or one step (`only`) of one turn (0: the turn at work). The report is written after each turn, and where
    something ends early, with what there is."""
    if only and only not in STEPS:
        raise ApprenticeError(f"no step {only!r}; known: {', '.join(f'{s} ({t})' for s, t in TITLES.items())}")
    try:
        if only:
            run_step(c, turn or max(1, c.state.turns), only)
            return
        for number in range(1, turns + 1):
            for step in STEPS:
                run_step(c, number, step)
    finally:
        if c.state.turns:
            print(write_report(c), flush=True)


def _told(step: str, outputs: dict[str, Any]) -> str:
    if step == "A":
        return f", {outputs['episodes']} episodes, {outputs['successes']} good"
    if step == "B":
        return f", {outputs['episodes']} episodes, {outputs['hours']:.2f} h"
    if step == "C":
        return ", " + ", ".join(f"{count} {mode}" for mode, count in outputs["counts"].items())
    if step == "D":
        accuracy = outputs["metrics"].get("validation/pair_accuracy")
        return f", {outputs['id']}" + ("" if accuracy is None else f", held-out pairs in order {accuracy:.3f}")
    if step == "E":
        return f", {len(outputs['agents'])} agents"
    if step == "F":
        return f", {outputs['chosen']['name']}, {len(outputs['delusions'])} delusion candidates"
    return ", " + ", ".join(f"{s} {r['successes']}/{r['episodes']}" for s, r in outputs["sets"].items())
