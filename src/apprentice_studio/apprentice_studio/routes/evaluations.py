"""Controlled evaluation (spec 000 section 2.13, lines 73-78): sets of starts, trials in their order, results, the report."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import Field

from apprentice_core.config import TaskConfig, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_core.paths import share_dir
from apprentice_store.evaluations import MAX_TRIALS, RANDOM, Evaluation, Evaluations, Result
from apprentice_studio.context import Context, Studio
from apprentice_studio.fields import ULID, Body, Name, Note, Task, TaskQuery, Ulid, User
from apprentice_studio.problems import Conflict, NotFound, Unprocessable
from apprentice_studio.report import report

router = APIRouter(prefix="/api", tags=["evaluation"])
RANDOM_EPISODES = 50
"""of an evaluation from random starts (paper)"""
ALL = "all"
EvaluationId = Annotated[str, Path(pattern=ULID)]
Plain = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class EvaluationBody(Body):
    """`sets`: names of the task's sets, `all` of them, or `random`. `episodes`: of each set; 0: each named start once, 50 random ones."""

    task: Task
    sets: Annotated[list[Name], Field(min_length=1, max_length=20)]
    policies: Annotated[list[Name], Field(min_length=1, max_length=100)]
    episodes: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = 0
    blind: bool = False
    seed: Annotated[int, Field(ge=0, lt=1 << 53)] | None = Field(None, description="of random starts and the shuffled order; null: drawn")
    user: User


class TrialBody(Body):
    """The operator's word (line 75); success null: the trial did not count and stays open."""

    success: bool | None
    note: Note = ""
    user: User
    episode_id: Ulid | None = Field(None, description="what was recorded")


class RevealBody(Body):
    """`early`: although trials are open."""

    user: User
    early: bool = False


def task_config(name: str) -> TaskConfig:
    """A task of config/tasks; NotFound otherwise. The name alone is looked up: no path is made of it."""
    known = sorted(p.stem for p in (share_dir() / "config" / "tasks").glob("*.yaml"))
    if name not in known:
        raise NotFound(f"no task {name!r}; known: {', '.join(known)}")
    return load_task(name)


def starts_of(task: TaskConfig, sets: list[str], episodes: int, seed: int) -> list[tuple[str, str]]:
    """(condition, start) of each place to start from; Unprocessable for a set that the task does not have."""
    names = [n for s in sets for n in ([*task.starts, *task.trials] if s == ALL else [s])]
    out: list[tuple[str, str]] = []
    for name in dict.fromkeys(names):
        if name == RANDOM:
            out += [(RANDOM, f"{RANDOM}/{seed + i}") for i in range(episodes or RANDOM_EPISODES)]
            continue
        if name in task.trials:
            # The same seeds for everybody: a start and a perturbation belong to the number of the trial.
            out += [(name, f"{name}/{i}") for i in range(episodes or task.trials[name].count)]
            continue
        known = list(task.starts.get(name, ()))
        if not known:
            have = ", ".join([*task.starts, *task.trials, RANDOM])
            raise Unprocessable(f"sets: task {task.name} has no starts {name!r}; it has: {have}")
        out += [(name, f"{name}/{known[i % len(known)]}") for i in range(episodes or len(known))]
    return out


def _get(studio: Studio, evaluation_id: str) -> Evaluation:
    try:
        return Evaluations(studio.store.catalogue).get(evaluation_id)
    except ApprenticeError as error:
        raise NotFound(str(error)) from error


def _result(result: Result | None) -> dict[str, Any] | None:
    return None if result is None else vars(result)


def _head(e: Evaluation) -> dict[str, Any]:
    """The seed decides the order, so it is hidden along with it."""
    return {
        "evaluation_id": e.evaluation_id, "task": e.task, "policies": sorted(e.policies), "blind": e.blind, "hidden": e.hidden,
        "seed": None if e.hidden else e.seed, "author": e.author, "created": e.created, "revealed": e.revealed, "trials": len(e.trials),
        "open": len(e.open), "interventions": e.interventions, "conditions": list(dict.fromkeys(t.condition for t in e.trials)),
    }


def _full(e: Evaluation) -> dict[str, Any]:
    trials = [
        {
            "number": t.number, "label": t.label, "policy": None if e.hidden else t.policy, "condition": t.condition, "start": t.start,
            "result": _result(e.results.get(t.number)),
        }
        for t in e.trials
    ]
    return {**_head(e), "trials": trials, "next": e.open[0].number if e.open else None}


@router.get("/evaluation_sets")
def evaluation_sets(studio: Context, task: TaskQuery) -> dict[str, Any]:
    """Starts by set: objects' x, y, z (m) and yaw (rad) in the base frame, and their shapes (line 73); `trials`: conditions whose starts
    seeds draw, with the perturbation of the goal (m)."""
    config = task_config(task)
    sets = {n: {start: place.model_dump() for start, place in one.items()} for n, one in config.starts.items()}
    overlays = studio.overlay is not None
    return {
        "task": config.name, "sets": sets, "trials": {n: t.model_dump() for n, t in config.trials.items()},
        "cameras": list(config.cameras), "random_episodes": RANDOM_EPISODES, "overlays": overlays,
    }


@router.get("/evaluation_sets/{task}/{name}/{start}/overlay/{camera}.png")
def overlay(studio: Context, task: Plain, name: Plain, start: Plain, camera: Plain) -> Response:
    """Where the objects belong, as the camera sees it: to be laid over the live picture while placing them by hand."""
    config = task_config(task)
    if start not in config.starts.get(name, {}):
        raise NotFound(f"task {task} has no start {name}/{start}")
    if camera not in (*config.cameras, *config.record_cameras):
        raise NotFound(f"task {task} has no camera {camera}")
    png = studio.overlay(task, name, start, camera) if studio.overlay is not None else None
    if png is None:
        raise NotFound("overlays need the simulator, which this server was started without")
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/evaluations")
def evaluations(studio: Context) -> dict[str, Any]:
    """All, newest first, without their trials."""
    return {"evaluations": [_head(e) for e in Evaluations(studio.store.catalogue).all()]}


@router.post("/evaluations")
def create(studio: Context, body: EvaluationBody) -> dict[str, Any]:
    """Plans every policy from every start; blind: in shuffled order under labels (line 77)."""
    config = task_config(body.task)
    seed = secrets.randbelow(1 << 31) if body.seed is None else body.seed
    starts = starts_of(config, body.sets, body.episodes, seed)
    return _full(Evaluations(studio.store.catalogue).create(body.task, body.policies, starts, body.blind, seed, body.user))


@router.get("/evaluations/{evaluation_id}")
def evaluation(studio: Context, evaluation_id: EvaluationId) -> dict[str, Any]:
    """Trials in their order with what was said of each; `next` is the first that is open."""
    return _full(_get(studio, evaluation_id))


@router.post("/evaluations/{evaluation_id}/trials/{number}")
def judge(
    studio: Context, evaluation_id: EvaluationId, number: Annotated[int, Path(ge=0, lt=MAX_TRIALS)], body: TrialBody
) -> dict[str, Any]:
    """Stores a result; a later one of the same trial corrects it, both stay."""
    if number >= len(_get(studio, evaluation_id).trials):
        raise NotFound(f"evaluation {evaluation_id} has no trial {number}")
    if body.episode_id is not None:
        studio.row(body.episode_id)
    Evaluations(studio.store.catalogue).judge(evaluation_id, number, body.success, body.user, body.note, body.episode_id or "")
    return _full(_get(studio, evaluation_id))


@router.post("/evaluations/{evaluation_id}/reveal")
def reveal(studio: Context, evaluation_id: EvaluationId, body: RevealBody) -> dict[str, Any]:
    """Names the policies of a blind evaluation; 409 while trials are open, unless `early`."""
    found = _get(studio, evaluation_id)
    if found.hidden and found.open and not body.early:
        raise Conflict(f"{len(found.open)} of {len(found.trials)} trials are open; revealing now makes the rest not blind (`early`)")
    return _full(Evaluations(studio.store.catalogue).reveal(evaluation_id))


@router.get("/evaluations/{evaluation_id}/report")
def evaluation_report(studio: Context, evaluation_id: EvaluationId) -> dict[str, Any]:
    """Success by policy and condition with Wilson intervals, in the layout of spec 000 section 5 (line 76)."""
    return report(studio.store.catalogue, _get(studio, evaluation_id))
