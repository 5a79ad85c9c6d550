"""Rewards that a person has put in the place of what was recorded or predicted (spec 000 section 2.13), and the one rule for reading them.

An override says a value for the steps first..last of an episode, for a task. Of several the one said last holds, step by step, whoever said
it; one without a value takes back what was said of its steps. It replaces the reward that a model predicted for that task, and, of an
episode that was recorded for that task, the recorded reward. Success is judged apart: no override changes it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from apprentice_core.errors import ApprenticeError
from apprentice_store import schema as s
from apprentice_store.catalogue import Catalogue
from apprentice_store.manifest import RewardOverride

if TYPE_CHECKING:
    from apprentice_store.replay_cache import ReplayCache

log = logging.getLogger(__name__)
KIND = "reward"
"""of the annotation; its name is the task, its value {"value": number or null, "first": step, "last": step}"""


def reward_overrides(catalogue: Catalogue, revision: int | None = None) -> dict[str, list[RewardOverride]]:
    """By episode, in the order in which they were said, at most up to `revision`. What cannot be understood is told and left out."""
    t = s.annotation_log.c
    query = select(t.episode_id, t.name, t.value, t.revision).where(t.kind == KIND).order_by(t.revision)
    if revision is not None:
        query = query.where(t.revision <= revision)
    out: dict[str, list[RewardOverride]] = {}
    with catalogue.transaction() as c:
        for episode_id, task, text, number in c.execute(query):
            try:
                said = json.loads(text)
                value = None if said["value"] is None else float(said["value"])
                override = RewardOverride(episode_id, task, int(said["first"]), int(said["last"]), value)
            except (ApprenticeError, ValueError, KeyError, TypeError) as error:
                log.warning("catalogue: revision %d: is not a reward override (%s)", number, error)
                continue
            out.setdefault(episode_id, []).append(override)
    return out


def override(
    column: np.ndarray, cache: ReplayCache, overrides: Iterable[RewardOverride], tasks: Mapping[str, str]
) -> np.ndarray:
    """float32 [rows]: a reward column of `cache` with the overrides for the task that `tasks` names for an episode; the column itself where
    there is none of these."""
    said: dict[str, list[RewardOverride]] = {}
    for o in overrides:
        if tasks.get(o.episode_id) == o.task:
            said.setdefault(o.episode_id, []).append(o)
    if not said:
        return column
    out = np.array(column, dtype=np.float32)
    for episode, start in zip(cache.episodes, cache.episode_starts, strict=False):
        values = np.full(episode.total, math.nan, np.float32)
        for o in said.get(episode.episode_id, ()):
            values[o.first : o.last + 1] = math.nan if o.value is None else o.value
        # Of a trimmed episode the rows are those of its steps first..first + steps - 1.
        mine = values[episode.first : episode.first + episode.steps]
        rows = slice(start, start + episode.steps)
        out[rows] = np.where(np.isnan(mine), out[rows], mine)
    return out
