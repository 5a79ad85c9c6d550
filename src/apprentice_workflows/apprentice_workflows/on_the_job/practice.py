"""The cells of Tables 5 to 7: a baseline's trials, or offline -> practice -> online, on one held-out connector.

A cell's result is kept in `cells/NAME.json`, its trials as committed episodes in `cells/NAME/episodes`, checkpoints of its learner beside
them. Killed, a cell goes on behind its last committed trial.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.bundle import bundle_id, read_bundle
from apprentice_core.cell import ActionSource
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardSource
from apprentice_core.statistics import Proportion
from apprentice_learning.online.journal import StoreJournal
from apprentice_learning.representations.dataset import CAMERA
from apprentice_learning.representations.on_the_job import ABLATION, WRENCH, Act, Trial, fine_tune, trial_of
from apprentice_learning.rewards.classifier_reward import ClassifierReward
from apprentice_learning.rewards.self_reward_checks import ExploitationAlarm, first_contact_trial
from apprentice_store.store import Store
from apprentice_workflows.on_the_job.baselines import ALONE, BASELINES, baseline
from apprentice_workflows.on_the_job.models import BUNDLE, Job
from apprentice_workflows.on_the_job.recording import bag_sink, open_store
from apprentice_workflows.on_the_job.starts import SCENARIOS, Scenario, trial_start
from apprentice_workflows.on_the_job.world import ROBOTS, ConnectorWorld, FrameSource

TEST, PRACTICE = 71, 72
"""streams of random starts that never meet"""
ROBOT = ROBOTS[0]
"""that practises; its held-out connectors are in no training set on either robot"""
PRACTISED = "practice"
"""tag of the episodes that are learned from; those of the tests bear `offline`, `online` or `baseline`"""


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


class Trials:
    """A cell's trials in its store: each has a phase (its tag) and a number, and is committed once. `facts` go into every episode."""

    def __init__(self, store: Store, world: ConnectorWorld, cell: Cell, facts: dict[str, Any]):
        """ApprenticeError when trials there were driven or judged by other models."""
        self.store, self.world, self.cell = store, world, cell
        self.facts = {"cell": cell.name, "scenario": cell.scenario, "learning_seed": cell.seed, **facts}
        for row in store.episodes("kind = 'episode'"):
            said = json.loads(row.metadata_json)
            wrong = sorted(k for k, v in self.facts.items() if said.get(k) != v)
            if wrong:
                raise ApprenticeError(
                    f"{store.folder}: {row.episode_id} is of other models ({', '.join(wrong)}); remove the cell's folder to begin again"
                )

    @staticmethod
    def where(phase: str) -> str:
        return f"kind = 'episode' and tag = '{phase}'"

    def ids(self, phase: str) -> dict[int, str]:
        """Episodes of a phase by number."""
        return {int(json.loads(r.metadata_json)["trial"]): r.episode_id for r in self.store.episodes(self.where(phase))}

    def drive(
        self, source: ActionSource, phase: str, stream: int, i: int, rewards: tuple[RewardSource, ...] = (), **facts: Any
    ) -> str:
        """Trial `i`, committed; its episode id."""
        sink = bag_sink(self.store, self.world.robot)
        told = {**self.facts, "trial": i, **facts}
        return self.world.run(source, *start(self.cell, stream, i), sink=sink, rewards=rewards, tags=(phase,), **told).episode_id

    def read(self, episode_id: str) -> Trial:
        return trial_of(self.store.read(episode_id, (CAMERA, WRENCH)), CAMERA)


def run_baseline(job: Job, cell: Cell) -> dict[str, Any]:
    """{result: proportion, first_contact_trial}."""
    if cell.who not in (*BASELINES, *ALONE):
        raise ApprenticeError(f"no baseline {cell.who!r}; known: {', '.join((*BASELINES, *ALONE))}")

    def make() -> dict[str, Any]:
        source = baseline(cell.who, cell.scenario, lambda: job.localiser(cell.seed))
        world = ConnectorWorld(cell.connector, ROBOT, job.s.size)
        try:
            with open_store(job.folder / "cells" / cell.name / "episodes") as store:
                trials = Trials(store, world, cell, {"base_hash": source.base_hash})
                done, found = trials.ids("baseline"), []
                for i in range(job.s.test_trials):
                    found.append(trials.read(done.get(i) or trials.drive(source, "baseline", TEST, i)))
                    job.tell(cell.name, i + 1, job.s.test_trials, "")
        finally:
            world.close()
        counted = Proportion(cell.who, sum(t.success for t in found), len(found))
        return {"result": counted.as_dict(), "first_contact_trial": first_contact_trial(t.touched for t in found)}

    return _kept(job.folder / "cells" / f"{cell.name}.json", make)


def run_practice(job: Job, cell: Cell, stop_on_alarm: bool = False, trials: int = 0) -> dict[str, Any]:
    """Zero-shot trials, `job.s.trials` trials of practice with the robot's own reward, trials again (C38). The alarm is told in every case;
    the thesis's protocol has none, so it ends practice only when asked to. The tuned policy's bundle lies in `policies/`. `trials`: instead
    of the preset's; such a cell is kept apart."""
    if cell.who not in ABLATION:
        raise ApprenticeError(f"no arm {cell.who!r}; known: {', '.join(ABLATION)}")
    budget = trials or job.s.trials
    name = cell.name + ("_alarm" if stop_on_alarm else "") + (f"_trials{trials}" if trials else "")

    def make() -> dict[str, Any]:
        world = ConnectorWorld(cell.connector, ROBOT, job.s.size)
        try:
            with open_store(job.folder / "cells" / name / "episodes") as store:
                return _practise(job, cell, store, world, name, budget, stop_on_alarm)
        finally:
            world.close()

    return _kept(job.folder / "cells" / f"{name}.json", make)


def _practise(job: Job, cell: Cell, store: Store, world: ConnectorWorld, name: str, budget: int, stop: bool) -> dict[str, Any]:
    of_reward, of_policy = ABLATION[cell.who]
    tuner = job.tuner(of_reward, of_policy, cell.seed)
    judge = ClassifierReward(job.models(f"reward_{of_reward}", cell.seed) / BUNDLE)
    policy = bundle_id(read_bundle(job.models(f"policy_{of_policy}", cell.seed) / BUNDLE)[0])
    kept = Trials(store, world, cell, {"reward_model": judge.model_id, "policy": policy})

    def practise(act: Act, i: int) -> None:
        kept.drive(FrameSource(act, cell.who), PRACTISED, PRACTICE, i, (judge,), updates=tuner.step)

    def test(act: Act, i: int, phase: str) -> bool:
        done = kept.ids(phase).get(i) or kept.drive(FrameSource(act, cell.who), phase, TEST, i, (judge,), updates=tuner.step)
        return bool(store.episodes(f"id = '{done}'")[0].success)

    def told(i: int, done: Trial, p: np.ndarray) -> None:
        job.tell(name, i + 1, budget, f"{'in' if done.success else 'not in'}, R at most {p.max():.2f}")

    journal = StoreJournal(store, Trials.where(PRACTISED))
    folder = job.folder / "cells" / name
    report = fine_tune(tuner, journal, practise, test, budget, job.s.test_trials, ExploitationAlarm(), told, stop, folder)
    tuner.write_policy(job.folder / "policies" / name, f"{cell.connector}_{cell.who}")
    return report.as_dict()
