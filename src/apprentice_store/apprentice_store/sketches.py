"""Reward sketches as a training set: of each annotator and episode the newest curve, at a pinned revision (spec 000 section 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from apprentice_store import schema as s
from apprentice_store.catalogue import SKETCH, Catalogue
from apprentice_store.sketch_book import newest_curves


@dataclass(frozen=True)
class Sketch:
    """`values`: float32 [frames] in [0, 1], one an observation of the bag: frame t is answered by action t, the last by none."""

    episode_id: str
    sequence_id: str
    user: str
    revision: int
    values: np.ndarray


@dataclass(frozen=True)
class SketchSet:
    """`refused`: sequence id to the reason for which a stored curve cannot be learned from."""

    task: str
    revision: int
    sketches: tuple[Sketch, ...]
    refused: dict[str, str]

    @property
    def episode_ids(self) -> tuple[str, ...]:
        return tuple(sorted({x.episode_id for x in self.sketches}))


def fault_of(values: np.ndarray, frames: int) -> str:
    """'' for a curve that says one number in [0, 1] of each of `frames` frames, else what is wrong with it."""
    if len(values) != frames:
        return f"{len(values)} values for {frames} frames"
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0.0) & (values <= 1.0)))
    return f"frame {bad[0]}: {values[bad[0]]} is not in [0, 1]" if len(bad) else ""


def sketches(catalogue: Catalogue, task: str, revision: int | None = None) -> SketchSet:
    """All that may be learned from for `task` at `revision` (None: the present one), in order of episode and annotator."""
    at = catalogue.revision if revision is None else revision
    t, e = s.reward_sequences.c, s.episodes.c
    mine = (t.task == task, t.type == SKETCH, t.revision <= at)
    with catalogue.transaction() as c:
        newest = newest_curves(c, *mine)
        sketched = select(e.episode_id, e.steps).where(e.episode_id.in_(select(t.episode_id).where(*mine)))
        frames = {episode_id: steps + 1 for episode_id, steps in c.execute(sketched)}
    kept, refused = [], {}
    for x in sorted(newest, key=lambda x: (x.episode_id, x.user)):
        sketch = Sketch(x.episode_id, x.sequence_id, x.user, x.revision, x.values)
        fault = fault_of(sketch.values, frames[sketch.episode_id])
        if fault:
            refused[sketch.sequence_id] = f"episode {sketch.episode_id}, sketched by {sketch.user or 'nobody named'}: {fault}"
        else:
            kept.append(sketch)
    return SketchSet(task, at, tuple(kept), refused)
