"""Step C: reward curves over chosen episodes, by the scripted annotator or by a person at Studio; both through Studio's interface."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from apprentice_core.errors import ApprenticeError
from apprentice_core.tasks import Task, make_task
from apprentice_store.store import Store
from apprentice_workflows.cli.progress import bars
from apprentice_workflows.wheel.annotator import Persona, sketch
from apprentice_workflows.wheel.context import SCRIPTED, WheelContext
from apprentice_workflows.wheel.evaluation import EVALUATE
from apprentice_workflows.wheel.studio_client import SavedSketch, StudioClient, local_studio

POOL = 500
"""episodes that the queue is asked for, of which those to sketch are drawn (ours)"""


class SketchesMissing(ApprenticeError):
    """A person has not drawn them all yet; the wheel goes on when they have."""


def sketch_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    return {"user": c.user, "wanted": _wanted(c, turn), "store": c.state.outputs(turn, "B")["manifest"]}


def _wanted(c: WheelContext, turn: int) -> dict[str, int]:
    chosen = c.numbers.first_sketches if turn == 1 else c.numbers.later_sketches
    return {str(mode): count for mode, count in chosen.items() if count}


def draw_sketches(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step C. What is to be sketched is drawn once from Studio's queue and kept, so that an interruption changes nothing; what the
    annotator has sketched already is not sketched again. SketchesMissing where a person has still to draw some."""
    with ExitStack() as stack:
        url = c.studio or stack.enter_context(local_studio(c.store))
        studio = stack.enter_context(StudioClient(url, c.user))
        picked = c.state.partial(turn, "C", sketch_inputs(c, turn), lambda: _pick(c, turn, studio))
        work = [(mode, episode_id) for mode, ids in picked["episodes"].items() for episode_id in ids]
        saved = _scripted(c, turn, studio, work) if c.user == SCRIPTED else _by_person(c, studio, work)
    counts = {mode: sum(m == mode for m, _ in work) for mode in picked["episodes"]}
    return {
        "user": c.user, "counts": counts, "episodes": [s.episode_id for s in saved], "sequences": [s.sequence_id for s in saved],
        "revision": max((s.revision for s in saved), default=c.store.catalogue.revision),
    }


def _pick(c: WheelContext, turn: int, studio: StudioClient) -> dict[str, Any]:
    rng = np.random.default_rng([turn, 11])
    episodes: dict[str, list[str]] = {}
    taken: set[str] = set()
    # Evaluation judges the method: it is neither sketched nor trained on.
    judged = {r.episode_id for r in c.store.episodes(f"tag = '{EVALUATE}'")}
    for mode, count in _wanted(c, turn).items():
        pool = [i for i in studio.queue(c.config.sketch_task, mode, POOL) if i not in taken and i not in judged]
        if mode != "delusions":  # these come worst first
            pool = [pool[i] for i in rng.permutation(len(pool))]
        episodes[mode] = pool[:count]
        taken.update(episodes[mode])
    return {"episodes": episodes}


def _scripted(c: WheelContext, turn: int, studio: StudioClient, work: list[tuple[str, str]]) -> list[SavedSketch]:
    task, out = make_task(c.config.task_config()), []
    with bars() as progress:
        shown = progress.add_task("sketches", total=len(work), note="")
        for mode, episode_id in work:
            out.append(sketch_one(c.store, task, studio, c.config.sketch_task, episode_id))
            progress.update(shown, advance=1, note=mode)
    return out


def sketch_one(store: Store, task: Task, studio: StudioClient, name: str, episode_id: str) -> SavedSketch:
    """The scripted annotator's sketch of an episode for the task called `name`; drawn only where there is none yet."""
    known = studio.own_sketch(episode_id, name)
    if known is not None:
        return known
    episode = store.read(episode_id, ("tool/pose",))
    # A person is the same person each time: the hand depends on the episode alone, and on its seed rather than on when it was recorded.
    seed = episode.meta["seed"]
    rng = np.random.default_rng([int.from_bytes(episode_id.encode()[-8:], "big") if seed is None else abs(seed), 7])
    values = sketch(task, episode, rng, Persona(studio.user))
    return studio.save(episode_id, name, values)


def _by_person(c: WheelContext, studio: StudioClient, work: list[tuple[str, str]]) -> list[SavedSketch]:
    saved = [studio.own_sketch(episode_id, c.config.sketch_task) for _, episode_id in work]
    missing = [episode_id for (_, episode_id), s in zip(work, saved, strict=True) if s is None]
    if missing:
        tag = f"sketch/{c.config.name}"
        for episode_id in missing:
            if tag not in c.store.catalogue.tags_of(episode_id):
                c.store.tag(episode_id, tag, author="wheel")
        raise SketchesMissing(
            f"{len(missing)} of {len(work)} episodes are still to be sketched for {c.config.sketch_task} by {c.user}: run "
            f"`apprentice studio --data {c.store.folder}`, queue `query` with \"tag = '{tag}'\", then the same command again"
        )
    return [s for s in saved if s is not None]
