"""Runs the open trials of a controlled evaluation (spec 000 section 2.13) in their order, and stores what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from apprentice_core.cell import Cell, EpisodeRef, EpisodeRequest, ResetMode, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_store.evaluations import RANDOM, Evaluation, Evaluations, Trial
from apprentice_workflows.cells import POLICY

POLL = 0.5
"""seconds between two looks for the operator's word (ours)"""
TAG = "evaluate"
CELL_USER = "cell"
"""who said so where the cell itself judges success"""
OpenCell = Callable[[Path | None], AbstractContextManager[Cell]]


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
) -> Iterator[tuple[Trial, EpisodeRef]]:
    """One recorded episode for each open trial, then its result: the cell's own, or (`by_operator`) what a person says in Studio,
    which is waited for. `place` asks a person to put the objects where they belong; without it the cell does. `open_cell` opens the cell
    with a bundle. Interrupted, it goes on with the first trial that is open.
    """
    evaluation = evaluations.get(evaluation_id)
    for trial in evaluation.trials:
        driver_of(trial.policy)
    for trial in evaluation.open:
        if _recorded(evaluation, trial) and by_operator:
            # It ran before an interruption and only lacks its judgement.
            waiting(trial)
            _wait(evaluations, evaluation_id, trial)
            continue
        source, bundle = driver_of(trial.policy)
        if place is not None:
            place(trial)
        start = start_of(trial, place is not None)
        request = EpisodeRequest(evaluation.task, source, start, steps=steps, end_on_success=True, tags=(TAG,))
        with open_cell(bundle) as cell:
            ref = cell.run(request)
        said = None if by_operator else ref.success
        evaluations.judge(evaluation_id, trial.number, said, CELL_USER, ref.reason, ref.episode_id)
        yield trial, ref
        if by_operator:
            waiting(trial)
            _wait(evaluations, evaluation_id, trial)


def _recorded(evaluation: Evaluation, trial: Trial) -> bool:
    """A result that only names the episode is the cell's; one of a person without a judgement asks for the trial to be run again."""
    result = evaluation.results.get(trial.number)
    return result is not None and result.user == CELL_USER and bool(result.episode_id)


def _wait(evaluations: Evaluations, evaluation_id: str, trial: Trial) -> None:
    while _recorded(evaluation := evaluations.get(evaluation_id), trial) and evaluation.results[trial.number].success is None:
        time.sleep(POLL)
