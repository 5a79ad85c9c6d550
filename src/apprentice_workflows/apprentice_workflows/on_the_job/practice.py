"""The cells of Tables 5 to 7: a baseline's trials, or offline -> practice -> online, on one held-out connector. Each is kept in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_core.statistics import Proportion
from apprentice_learning.representations.on_the_job import ABLATION, RunTrial, Trial, fine_tune
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm, first_contact_trial
from apprentice_workflows.on_the_job.baselines import ALONE, BASELINES, baseline
from apprentice_workflows.on_the_job.models import Job
from apprentice_workflows.on_the_job.starts import SCENARIOS, Scenario, trial_start
from apprentice_workflows.on_the_job.world import ROBOTS, ConnectorWorld

TEST, PRACTICE = 71, 72
"""streams of random starts that never meet"""
ROBOT = ROBOTS[0]
"""that practises; its held-out connectors are in no training set on either robot"""


@dataclass(frozen=True)
class Cell:
    """`who`: a baseline, or an arm of the ablation."""

    who: str
    connector: str
    scenario: Scenario
    seed: int

    @property
    def name(self) -> str:
        return f"{self.who}_{self.connector}_{self.scenario}_seed{self.seed}"


def start(cell: Cell, stream: int, i: int) -> tuple[tuple[float, float], int]:
    """(offset, seed) of a trial. Test starts are the same for every method and seed; practice differs by seed."""
    rng = np.random.default_rng([stream, SCENARIOS.index("I" if cell.scenario == "I" else "II"), i, cell.seed if stream == PRACTICE else 0])
    offset = trial_start(cell.scenario, rng)
    return offset, int(rng.integers(2**31))


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    began = time.process_time()
    found = {**make(), "cpu_s": round(time.process_time() - began, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def run_baseline(job: Job, cell: Cell) -> dict[str, Any]:
    """{result: proportion, first_contact_trial}."""
    if cell.who not in (*BASELINES, *ALONE):
        raise ApprenticeError(f"no baseline {cell.who!r}; known: {', '.join((*BASELINES, *ALONE))}")

    def make() -> dict[str, Any]:
        source = baseline(cell.who, cell.scenario, lambda: job.localiser(cell.seed))
        world = ConnectorWorld(cell.connector, ROBOT, job.s.size)
        try:
            trials: list[Trial] = []
            for i in range(job.s.test_trials):
                trials.append(world.run(source, *start(cell, TEST, i)).trial)
                job.tell(cell.name, i + 1, job.s.test_trials, "")
        finally:
            world.close()
        found = Proportion(cell.who, sum(t.success for t in trials), len(trials))
        return {"result": found.as_dict(), "first_contact_trial": first_contact_trial(t.touched for t in trials)}

    return _kept(job.folder / "cells" / f"{cell.name}.json", make)


def run_practice(job: Job, cell: Cell, stop_on_alarm: bool = False, trials: int = 0) -> dict[str, Any]:
    """Zero-shot trials, `job.s.trials` trials of practice with the robot's own reward, trials again (C38). The alarm is told in every case;
    the thesis's protocol has none, so it ends practice only when asked to. The tuned policy's bundle lies in `policies/`. `trials`: instead
    of the preset's; such a cell is kept apart."""
    if cell.who not in ABLATION:
        raise ApprenticeError(f"no arm {cell.who!r}; known: {', '.join(ABLATION)}")
    budget = trials or job.s.trials
    suffix = ("_alarm" if stop_on_alarm else "") + (f"_trials{trials}" if trials else "")

    def make() -> dict[str, Any]:
        tuner = job.tuner(*ABLATION[cell.who], cell.seed)
        world = ConnectorWorld(cell.connector, ROBOT, job.s.size)

        def trial(stream: int) -> RunTrial:
            return lambda act, i: world.practise(act, *start(cell, stream, i))

        probabilities: list[float] = []

        def told(i: int, done: Trial, p: np.ndarray) -> None:
            if tuner.step < tuner.config.updates_per_step * len(tuner):
                raise KeyboardInterrupt  # Ctrl-C has ended the updates of this trial
            probabilities.append(round(float(p.max()), 4))
            job.tell(cell.name, i + 1, budget, f"{'in' if done.success else 'not in'}, R at most {p.max():.2f}")

        try:
            report = fine_tune(
                tuner, trial(PRACTICE), trial(TEST), budget, job.s.test_trials, ExploitationAlarm(), told, stop=stop_on_alarm
            )
        finally:
            world.close()
        tuner.write_policy(job.folder / "policies" / (cell.name + suffix), f"{cell.connector}_{cell.who}")
        return {**report.as_dict(), "largest_probability": probabilities}

    return _kept(job.folder / "cells" / f"{cell.name}{suffix}.json", make)
