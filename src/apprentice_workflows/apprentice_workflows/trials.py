"""Runs the open trials of a controlled evaluation (spec 000 section 2.13, spec 001c A27, A28) in their order, and stores what became of
each: a person's word where one is asked, and beside it what true poses or the connection say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.cell import Cell, EpisodeRef, EpisodeRequest, ResetMode, ResetRequest
from apprentice_core.config import TaskConfig, load_task
from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError
from apprentice_core.streams import CONNECTED
from apprentice_core.tasks import TaskState, make_task
from apprentice_sim.scenes import make_scene
from apprentice_store.evaluations import INTERVENTION, RANDOM, VERIFIED, Check, Evaluation, Evaluations, Trial
from apprentice_store.store import TELEOP_SOURCES, Store
from apprentice_workflows.cells import POLICY, RESIDUAL
from apprentice_workflows.insertion.goals import Goal, Point, perturbations

POLL = 0.5
"""seconds between two looks for the operator's word (ours)"""
TAG = "evaluate"
CELL_USER = "cell"
"""who said so where the cell itself judges success"""
RESET_TRIES = 3
"""times that a person may put the cell in order before one trial (ours)"""
OpenCell = Callable[[Path | None], AbstractContextManager[Cell]]


@dataclass(frozen=True)
class Protocol:
    """How trials of a task with a commanded goal run: `goal`: tool position with the part where it belongs, as calibrated, m; `above`: how
    far over it an episode starts; `base`: the controller below a bundle's residual, `residual`: the source that the bundle drives."""

    task: TaskConfig
    goal: Point
    above: float
    base: str
    residual: str = POLICY

    def driver(self, policy: str) -> tuple[str, Path | None]:
        source, bundle = driver_of(policy)
        return (source, None) if bundle is None else (f"{self.base}+{self.residual}", bundle)

    def request(self, trial: Trial, mode: ResetMode) -> tuple[ResetRequest, dict[str, Any]]:
        """The start and what the episode is told: the goal, off by the set's perturbation. Equal trials of all policies are alike."""
        name, _, number = trial.start.partition("/")
        chosen = self.task.trials.get(name)
        seed = int(number) if chosen is not None or name == RANDOM else None
        offset = perturbations(1, seed, chosen.perturbation)[0] if chosen is not None and seed is not None else (0.0, 0.0, 0.0)
        initial = chosen.start if chosen is not None else "" if name == RANDOM else trial.start
        goal = Goal(self.goal, offset)
        x, y, z = goal.commanded
        return ResetRequest(mode, initial, seed), {**goal.metadata(), "start": {"tool": [x, y, z + self.above]}}


BASES = {"insertion": "p_controller", "assembly": "hand_controller"}
"""scene -> base controller of a task with a commanded goal (the thesis's)"""
CELLS = {"insertion": "sawyer_insertion", "assembly": "sawyer_assembly"}


def protocol_of(task_name: str, cell: str, base: str, goal: str, in_process: bool) -> tuple[str, Protocol | None]:
    """(cell config, how its trials run; None for a task without a commanded goal); ApprenticeError for a goal that is no point."""
    task = load_task(task_name)
    cell = cell or CELLS.get(task.scene, "sawyer_lift")
    if task.action != "cartesian_displacement":
        return cell, None
    try:
        told = [float(v) for v in goal.split(",")] if goal else None
    except ValueError:
        told = []
    scene = make_scene(task.scene, task)
    at = scene.tool_goal if told is None else np.array(told)
    if at is None or scene.tool_goal is None or scene.tool_start is None or at.shape != (3,) or not np.isfinite(at).all():
        raise ApprenticeError(f"--goal {goal!r}: give X,Y,Z in m, as calibrated")
    x, y, z = at.tolist()
    above = float((scene.tool_start - scene.tool_goal)[2])
    return cell, Protocol(task, (x, y, z), above, base or BASES.get(task.scene, "p_controller"), POLICY if in_process else RESIDUAL)


def plan_of_task(evaluations: Evaluations, task_name: str, policies: Sequence[str]) -> Evaluation:
    """The task's own trials (TaskConfig.trials) for each of the policies; ApprenticeError for a task that has none."""
    task = load_task(task_name)
    if not task.trials:
        raise ApprenticeError(f"task {task_name} has no trials of its own; plan an evaluation in Studio")
    starts = [(name, f"{name}/{i}") for name, one in task.trials.items() for i in range(one.count)]
    return evaluations.create(task_name, policies, starts, False, 0, CELL_USER)


def verify(episode: Episode, task: TaskConfig) -> Check:
    """Success of the last state by true poses, else by the connection, else unknown; never by the reward that was learned from."""
    rule = make_task(task)
    steps = sum(actor in TELEOP_SOURCES for actor in episode.actors)
    poses = [episode.privileged.get(f"object/{n}/pose") for n in rule.objects]
    if all(p is not None and np.isfinite(p[[0, -1]]).all() for p in poses):
        first, last = ({k: v[rows] for k, v in episode.privileged.items()} for rows in (slice(0, 1), slice(-1, None)))
        state = TaskState({k: v[-1:] for k, v in episode.observations.items()}, last, first)
        return Check(bool(rule.success(state)[0]), "poses", steps)
    if CONNECTED in episode.observations:
        return Check(bool(np.asarray(episode.observations[CONNECTED])[-1, 0] == 1.0), "connection", steps)
    return Check(None, "", steps)


def driver_of(policy: str) -> tuple[str, Path | None]:
    """(action source, bundle): a folder with a bundle, or the name of a source of the cell such as `expert`."""
    folder = Path(policy)
    if (folder / "bundle.json").is_file():
        return POLICY, folder
    if "/" in policy:
        raise ApprenticeError(f"policy {policy!r}: no bundle is there")
    return policy, None


def start_of(trial: Trial, by_hand: bool = False) -> ResetRequest:
    """The named start, or the seed of a random one. `by_hand`: a person has placed the objects, only the robot goes to its pose."""
    condition, _, name = trial.start.partition("/")
    mode: ResetMode = "robot" if by_hand else "full"
    return ResetRequest(mode, seed=int(name)) if condition == RANDOM else ResetRequest(mode, initial_state=trial.start)


def run_trials(
    evaluations: Evaluations, evaluation_id: str, open_cell: OpenCell, steps: int = 0, by_operator: bool = False,
    waiting: Callable[[Trial], None] = lambda _: None, place: Callable[[Trial], None] | None = None,
    protocol: Protocol | None = None, store: Store | None = None, mend: Callable[[str], None] | None = None,
) -> Iterator[tuple[Trial, EpisodeRef]]:
    """One recorded episode for each open trial, then its result: the cell's own, or (`by_operator`) what a person says in Studio,
    which is waited for. `place` asks a person to put the objects where they belong; without it the cell does. `open_cell` opens the cell
    with a bundle. Interrupted, it goes on with the first trial that is open.

    With `store`, which holds the cell's episodes, each is verified by `verify` as well. A reset that fails is no result: `mend(reason)`
    asks a person to put the cell in order, which is counted, and the trial is tried again; ApprenticeError after three times.
    """
    evaluation = evaluations.get(evaluation_id)
    drive = driver_of if protocol is None else protocol.driver
    for trial in evaluation.trials:
        drive(trial.policy)
    for trial in evaluation.open:
        if _recorded(evaluation, trial) and by_operator:
            # It ran before an interruption and only lacks its judgement.
            waiting(trial)
            _wait(evaluations, evaluation_id, trial)
            continue
        source, bundle = drive(trial.policy)
        if place is not None:
            place(trial)
        hand = place is not None
        start, told = protocol.request(trial, "robot" if hand else "full") if protocol else (start_of(trial, hand), {})
        # A task with a commanded goal is judged by where the last step leaves it, with none cut short (spec 001c section 3.5).
        request = EpisodeRequest(evaluation.task, source, start, steps, protocol is None, metadata=told, tags=(TAG,))
        ref = _run(evaluations, evaluation_id, trial, open_cell, bundle, request, mend)
        said = None if by_operator else ref.success
        if store is not None and ref.episode_id:
            check = verify(store.read(ref.episode_id), load_task(evaluation.task))
            store.catalogue.annotate(ref.episode_id, VERIFIED, evaluation_id, check.as_json(), CELL_USER)
            said = said if by_operator or check.success is None else check.success
        evaluations.judge(evaluation_id, trial.number, said, CELL_USER, ref.reason, ref.episode_id)
        yield trial, ref
        if by_operator:
            waiting(trial)
            _wait(evaluations, evaluation_id, trial)


def _run(
    evaluations: Evaluations, evaluation_id: str, trial: Trial, open_cell: OpenCell, bundle: Path | None, request: EpisodeRequest,
    mend: Callable[[str], None] | None,
) -> EpisodeRef:
    for _ in range(RESET_TRIES):
        with open_cell(bundle) as cell:
            ref = cell.run(request)
        if ref.episode_id:
            return ref
        evaluations.judge(evaluation_id, trial.number, None, CELL_USER, f"{INTERVENTION}{ref.reason}")
        if mend is not None:
            mend(ref.reason)
    raise ApprenticeError(f"trial {trial.number + 1}: {RESET_TRIES} resets failed; the last: {ref.reason}")


def _recorded(evaluation: Evaluation, trial: Trial) -> bool:
    """A result that only names the episode is the cell's; one of a person without a judgement asks for the trial to be run again."""
    result = evaluation.results.get(trial.number)
    return result is not None and result.user == CELL_USER and bool(result.episode_id)


def _wait(evaluations: Evaluations, evaluation_id: str, trial: Trial) -> None:
    while _recorded(evaluation := evaluations.get(evaluation_id), trial) and evaluation.results[trial.number].success is None:
        time.sleep(POLL)
