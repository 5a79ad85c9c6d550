"""Claims A-c1 to A-c8 on the arms of A-E1 to A-E5 (spec 001c sections 2.5 and 2.7), each one command of `apprentice reproduce`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.statistics import mean_interval
from apprentice_workflows.cli.progress import stages
from apprentice_workflows.experiments.comparison import apart, beats, fisher, worst
from apprentice_workflows.experiments.residual.arms import NONE, Arm, Earlier, World, run_arm
from apprentice_workflows.experiments.residual.curves import curve_figure, sweep_figure
from apprentice_workflows.experiments.result import Verdict, cell, write_result

Runs = list[dict[str, Any]]
HAND, ALONE, RESIDUAL = "hand-designed", "RL alone", "residual RL"
ON_POLICY = "residual on the simulation's policy"
BOTH = (HAND, RESIDUAL)


class ResidualSettings(Strict):
    """One preset of A-E1 to A-E5."""

    steps: int = Field(6000, ge=50, description="ours: control steps of a run; thesis: about 8,000 samples on the real robot")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), description="thesis: 10 in simulation")
    sweep_seeds: tuple[int, ...] = Field((0, 1, 2), description="ours: of each point of a sweep")
    evaluations: int = Field(20, ge=1, description="thesis: 20 trials on the real robot")
    rotation: float = Field(0.3, ge=0, description="rad; ours: the hardest of the thesis's sweep, where arms are compared at one rotation")
    rotations: tuple[float, ...] = Field((0.0, 0.15, 0.3), description="rad; thesis: 0 to 0.3 by 0.05")
    sigmas: tuple[float, ...] = Field((0.01, 0.1), description="thesis: 0.01 to 0.1")
    means: tuple[float, ...] = Field((0.0, 0.2), description="thesis: 0 to 0.2, at sigma 0.05")


PRESETS = {
    "paper": ResidualSettings(
        steps=30_000, seeds=tuple(range(10)), sweep_seeds=tuple(range(5)), rotations=(0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
        sigmas=(0.01, 0.025, 0.05, 0.075, 0.1), means=(0.0, 0.05, 0.1, 0.15, 0.2),
    ),
    "small": ResidualSettings(),
    "tiny": ResidualSettings(steps=150, seeds=(0,), sweep_seeds=(0,), evaluations=1, rotations=(0.0, 0.3), sigmas=(0.1,), means=(0.2,)),
}
Tell = Callable[[str, int, int, str], None]


def arm_of(who: str, world: World, s: ResidualSettings) -> Arm:
    """The same learner and world in each; only base or residual is taken away (A10, A11)."""
    base = "null_controller" if who == ALONE else "hand_controller"
    return Arm(f"{who}", world, learner="" if who == HAND else "td3", base=base, steps=0 if who == HAND else s.steps)


def run_all(arm: Arm, seeds: Sequence[int], folder: Path, s: ResidualSettings, tell: Tell, earlier: Earlier = NONE) -> Runs:
    def one(seed: int) -> dict[str, Any]:
        name = f"{arm.name}, seed {seed}"
        return run_arm(arm, seed, folder, s.evaluations, lambda done, total, note: tell(name, done, total, note), earlier)

    return [one(seed) for seed in (seeds if arm.learner else (0,))]


def narrower(a: Runs, b: Runs) -> Verdict:
    """Whether every run of `a` explored less space than any of `b` (A-c8)."""
    return "holds" if max(r["spread"] for r in a) < min(r["spread"] for r in b) else "does not hold"


def numbers(runs: Runs) -> list[float]:
    """Mean return of each run at evaluation; of a fixed controller, which has no seeds, the return of each episode."""
    return list(runs[0]["returns"]) if not runs[0]["arm"]["learner"] else [float(np.mean(r["returns"])) for r in runs]


def final_return(runs: Runs) -> tuple[float, float, float]:
    """(mean, low, high)."""
    return mean_interval(numbers(runs))


def separated(better: Runs, worse: Runs) -> Verdict:
    """Rule X15 on returns."""
    return apart(numbers(better), numbers(worse))


def table(found: dict[str, Runs], thesis: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Success over all seeds; the returns stand in the result beside them. A cell's name is '<setting>, <who>'."""
    return [
        cell(name, sum(r["successes"] for r in runs), sum(r["trials"] for r in runs), (thesis or {}).get(name))
        for name, runs in found.items()
    ]


def returns(found: dict[str, Runs]) -> dict[str, list[float]]:
    return {name: [round(v, 4) if np.isfinite(v) else None for v in final_return(runs)] for name, runs in found.items()}  # type: ignore[misc]


def _finish(
    out: Path, claim: str, found: dict[str, Runs], verdict: Verdict, s: ResidualSettings, began: float, figure: Any, seeds: Sequence[int],
    thesis: dict[str, float] | None = None, **more: Any,
) -> dict[str, Any]:
    result = write_result(
        out, claim, table(found, thesis), verdict, seeds, s.model_dump(mode="json"), time.monotonic() - began,
        returns=returns(found), samples_per_s=_rate(found), **more,
    )
    figure.savefig(out / "plot.png", dpi=110)
    return result


def _rate(found: dict[str, Runs]) -> float | None:
    rates = [r["samples_per_s"] for runs in found.values() for r in runs if "samples_per_s" in r]
    return round(float(np.mean(rates)), 2) if rates else None


def steps_to(runs: Runs, level: float, window: int = 20) -> list[int | None]:
    """Environment steps of each run when the mean return of the last `window` episodes first reached `level` (A23); None: never."""
    out: list[int | None] = []
    for r in runs:
        values = [c[1] for c in r["curve"]]
        means = [float(np.mean(values[max(0, i - window + 1) : i + 1])) for i in range(window - 1, len(values))]
        hit = next((i for i, m in enumerate(means) if m >= level), None)
        out.append(None if hit is None else int(r["curve"][hit + window - 1][0]))
    return out


def efficiency(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-E1: A-c1 (residual RL ends higher than RL alone and than pi_H) and A-c8 (it explores less of space)."""
    s, began = PRESETS[preset], time.monotonic()
    world = World(s.rotation)
    with stages() as tell:
        found = {f"rotation {s.rotation:g}, {who}": run_all(arm_of(who, world, s), s.seeds, data / "residual", s, tell)
                 for who in (HAND, ALONE, RESIDUAL)}
    hand, alone, residual = found.values()
    level = final_return(hand)[0]
    return _finish(
        out, "A-c1: residual RL ends with a higher return than RL alone and than the hand-designed controller", found,
        worst([separated(residual, alone), separated(residual, hand)]), s, began,
        curve_figure({ALONE: alone, RESIDUAL: residual}, level, HAND), s.seeds,
        steps_to_hand_return={ALONE: steps_to(alone, level), RESIDUAL: steps_to(residual, level)},
        tool_spread_m2={ALONE: mean_interval([r["spread"] for r in alone]), RESIDUAL: mean_interval([r["spread"] for r in residual])},
        a_c8=narrower(residual, alone),
        thesis_references={"sim_initialised_steps": 1000, "real_samples": 8000},
    )


def _sweep(
    preset: str, data: Path, out: Path, claim: str, axis: str, points: Callable[[ResidualSettings], Sequence[tuple[float, World]]],
    judge: Callable[[list[Runs], list[Runs]], Verdict],
) -> dict[str, Any]:
    s, began = PRESETS[preset], time.monotonic()
    found: dict[str, Runs] = {}
    with stages() as tell:
        for value, world in points(s):
            for who in BOTH:
                found[f"{axis} {value:g}, {who}"] = run_all(arm_of(who, world, s), s.sweep_seeds, data / "residual", s, tell)
    values = [v for v, _ in points(s)]
    hand, residual = ([found[f"{axis} {v:g}, {who}"] for v in values] for who in BOTH)
    figure = sweep_figure(axis, values, {HAND: [final_return(r) for r in hand], RESIDUAL: [final_return(r) for r in residual]})
    return _finish(out, claim, found, judge(hand, residual), s, began, figure, s.sweep_seeds)


def flat_while_base_falls(hand: list[Runs], residual: list[Runs]) -> Verdict:
    """A30: over the sweep the residual's return varies by less than 20 % of what the base loses, and at its end it is above the base's."""
    ours, theirs = [final_return(r)[0] for r in residual], [final_return(r)[0] for r in hand]
    lost = theirs[0] - theirs[-1]
    if lost <= 0:
        return "undecided"
    if separated(residual[-1], hand[-1]) != "holds":
        return separated(residual[-1], hand[-1])
    return "holds" if max(ours) - min(ours) < 0.2 * lost else "does not hold"


def rotation(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-E2: A-c3, and A-c2 on the discrete starts of the real experiment beside it (`residual_real_style`)."""
    return _sweep(
        preset, data, out, "A-c3: the residual's return is about constant over block rotation, the hand-designed controller's falls",
        "rotation", lambda s: [(r, World(r)) for r in s.rotations], flat_while_base_falls,
    )


def noise(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-E3: A-c4, blocks straight, so that the noise is what is compared."""
    return _sweep(
        preset, data, out, "A-c4: the residual's return is about constant over control noise, the hand-designed one's falls", "sigma",
        lambda s: [(v, World(0.0, sigma=v)) for v in s.sigmas], flat_while_base_falls,
    )


def bias(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-E4: A-c5 and A-c6, at sigma 0.05, on all axes."""
    return _sweep(
        preset, data, out, "A-c5: the residual cancels a bias of the controller: at the largest it is above the hand-designed one", "mu",
        lambda s: [(v, World(0.0, mean=v, sigma=0.05)) for v in s.means], lambda hand, residual: separated(residual[-1], hand[-1]),
    )


def real_style(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-c2: 20 trials with each block straight or at +-20 degrees (thesis: 2/20 and 15/20 on the real robot). Fisher's test (X15)."""
    s, began = PRESETS[preset], time.monotonic()
    world = World(start="discrete")
    with stages() as tell:
        found = {f"discrete, {who}": run_all(arm_of(who, world, s), s.sweep_seeds, data / "residual", s, tell) for who in BOTH}
    hand, residual = found.values()
    # One seed's policy against the controller, as on the robot: seeds are no independent trials of one policy.
    counts = [(r["successes"], r["trials"]) for r in residual]
    base = (hand[0]["successes"], hand[0]["trials"])
    verdict = worst([beats(c, base) for c in counts])
    return _finish(
        out, "A-c2: residual RL beats the hand-designed controller when blocks are rotated (15/20 against 2/20)", found, verdict, s, began,
        curve_figure({RESIDUAL: residual}, final_return(hand)[0], HAND), s.sweep_seeds,
        {f"discrete, {HAND}": 0.1, f"discrete, {RESIDUAL}": 0.75}, fisher_p=[fisher(c, base) for c in counts],
    )


SIMULATION = World(task_name="assemble_blocks_fixed")
REALITY = World(cell="sawyer_assembly_real", task_name="assemble_blocks_real")
"""a second simulation stands in for reality (A22): rougher blocks, a tighter gap, seen and commanded late (ours)"""


def sim_to_real(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """A-E5: A-c7, side blocks fixed: {RL, residual RL} with and without initialisation from a simulation, and its policy as the base."""
    s, began = PRESETS[preset], time.monotonic()
    folder, found = data / "residual", {}
    with stages() as tell:
        for who in (ALONE, RESIDUAL):
            sim = run_all(replace(arm_of(who, SIMULATION, s), name=f"{who} in simulation"), s.sweep_seeds, folder, s, tell)
            fresh = arm_of(who, REALITY, s)
            found[f"reality, {who}"] = run_all(fresh, s.sweep_seeds, folder, s, tell)
            runs: Runs = []
            for seed, before in zip(s.sweep_seeds, sim, strict=True):
                started = replace(fresh, name=f"{who} from simulation", initial=f"{who} in simulation")
                runs += run_all(started, (seed,), folder, s, tell, Earlier(checkpoint=Path(before["checkpoint"])))
            found[f"reality, {who} from simulation"] = runs
            if who == ALONE:
                runs = []
                for seed, before in zip(s.sweep_seeds, sim, strict=True):
                    on_policy = replace(arm_of(RESIDUAL, REALITY, s), name=ON_POLICY, policy_base=f"{who} in simulation")
                    runs += run_all(on_policy, (seed,), folder, s, tell, Earlier(bundle=Path(before["bundle"])))
                found[f"reality, {ON_POLICY}"] = runs
    level = final_return(found[f"reality, {RESIDUAL}"])[0]
    needed = {name: steps_to(runs, level) for name, runs in found.items()}

    def sooner(started: str, fresh: str) -> bool:
        pairs = zip(needed[f"reality, {started}"], needed[f"reality, {fresh}"], strict=True)
        return all(a is not None and (b is None or a < b) for a, b in pairs)

    verdict: Verdict = "undecided"
    if len(s.sweep_seeds) >= 3:
        both = sooner(f"{RESIDUAL} from simulation", RESIDUAL) and sooner(f"{ALONE} from simulation", ALONE)
        verdict = "holds" if both else "does not hold"
    curves = {name.removeprefix("reality, "): runs for name, runs in found.items()}
    return _finish(
        out, "A-c7: initialisation from a simulation speeds up RL and residual RL", found, verdict, s, began,
        curve_figure(curves, level, "residual RL's final return"), s.sweep_seeds, steps_to_residual_return=needed,
        thesis_references={"sim_initialised_steps": 1000},
    )
