"""A view (contract 6): which steps are trained on, in which exact ratio, with which reward and which action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from apprentice_core.config import Strict
from apprentice_core.errors import ConfigError
from apprentice_learning.data.columns import ACTION_PREFIX, DISCOUNT, REWARD_PREFIX, Columns

ABORTS = ("force_limit", "estop")
"""why the safety chain ends an episode"""


class DataSource(Strict):
    """One share of every batch."""

    name: str
    drivers: tuple[str, ...] = Field((), description="episode sources to draw from; empty: any")
    tasks: tuple[str, ...] = Field((), description="tasks to draw from; empty: any")
    ratio: float = Field(1.0, gt=0, description="share of each batch; the ratios of a view add up to 1")
    outcome: Literal["any", "success"] = Field("any", description="success: only episodes that ended well")


class ViewConfig(Strict):
    """`view:` of a run."""

    sources: tuple[DataSource, ...]
    task: str = Field("", description="only episodes of this task, in every source; empty: any (paper: the mix holds other tasks too)")
    without_drivers: tuple[str, ...] = Field(
        (), description="drivers whose episodes no source draws from; paper: none, and random_watcher in the ablation"
    )
    action: Literal["executed", "source"] = Field(
        "executed", description="executed: what acted on the world (RL); source: the driver's answer before its noise (imitation)"
    )
    reward: str = Field(
        "",
        description="'<source>/<name>' as recorded, or 'model/<task>': predicted by a model; "
        "where a person has overridden one, theirs. Empty: none is read, all rewards are 0",
    )
    reward_model: str = Field("", description="id of the model behind 'model/<task>'; empty: the newest that has labelled for the task")
    unlabelled: Literal["refuse", "leave_out"] = Field("refuse", description="ours: what becomes of episodes that the model has not scored")
    reward_scale: float = Field(1.0, description="ours: no scaling")
    reward_shift: float = Field(0.0, description="paper: -1 for AntMaze, else 0")
    success_terminal: bool = Field(False, description="ours: the step that reached success ends the task (discount 0)")
    abort_terminal: bool = Field(
        False, description="ours: a safety abort ends the task (discount 0; spec 000 section 8); else it is a time-out, as it is recorded"
    )
    validation: float = Field(0.1, ge=0, lt=1, description="ours: share of each source's episodes held out, whole episodes")

    @model_validator(mode="after")
    def _ratios(self) -> ViewConfig:
        if not self.sources or abs(sum(s.ratio for s in self.sources) - 1.0) > 1e-6:
            raise ValueError("the ratios of sources must add up to 1")
        return self


@dataclass(frozen=True)
class Split:
    """Row numbers of one source: each is the observation of a step, and row + 1 is its next observation."""

    train: np.ndarray
    validation: np.ndarray


class View:
    """Rows by source, with reward, discount and action resolved once.

    `action` [N, A], `reward` [N], `discount` [N] span all rows of the columns; only rows in `splits` are ever read.
    """

    def __init__(self, columns: Columns, config: ViewConfig, seed: int):
        self.data, self.config = columns, config
        arrays = columns.columns
        self.action = _column(arrays, ACTION_PREFIX + config.action, "action")
        self.discount = np.array(_column(arrays, DISCOUNT, "action"), dtype=np.float32)
        if config.reward:
            raw = _column(arrays, REWARD_PREFIX + config.reward, "reward")
            self.reward = (np.asarray(raw, dtype=np.float32) * config.reward_scale + config.reward_shift).astype(np.float32)
        else:
            self.reward = np.zeros(len(self.discount), dtype=np.float32)
        starts = columns.episode_starts
        for info, stop in zip(columns.episodes, starts[1:], strict=True):
            ends = (config.success_terminal and info.success) or (config.abort_terminal and info.reason in ABORTS)
            if ends and not info.cut:
                self.discount[stop - 2] = 0.0
        self.splits = {s.name: self._split(s, seed) for s in config.sources}

    def _split(self, source: DataSource, seed: int) -> Split:
        chosen = [
            i for i, e in enumerate(self.data.episodes)
            if (not source.drivers or e.source in source.drivers) and e.source not in self.config.without_drivers
            and (source.outcome == "any" or e.success)
            and (not source.tasks or e.task in source.tasks) and (not self.config.task or e.task == self.config.task)
        ]
        if not chosen:
            wish = f"driven by {', '.join(source.drivers) or 'anyone'}, of {', '.join(source.tasks) or 'any task'}"
            raise ConfigError("view", f"sources.{source.name}", f"no episode {wish}, fits")
        # Episodes are put in order of id first, so that the split depends on the data and the seed, not on the cache's order.
        order = sorted(chosen, key=lambda i: self.data.episodes[i].episode_id)
        order = [order[i] for i in np.random.default_rng([seed, 1]).permutation(len(order))]
        held = min(round(len(order) * self.config.validation), len(order) - 1)
        return Split(train=self._rows(order[held:], source.name), validation=self._rows(order[:held], source.name))

    def _rows(self, episodes: list[int], name: str) -> np.ndarray:
        starts = self.data.episode_starts
        rows = [np.arange(starts[i], starts[i + 1] - 1) for i in sorted(episodes)]
        out = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        if self.config.reward:
            out = out[np.isfinite(self.reward[out])]
            if rows and not len(out):
                raise ConfigError("view", f"sources.{name}", f"no step carries the reward {self.config.reward!r}")
        return out.astype(np.int64)


def _column(arrays: Mapping[str, np.ndarray], name: str, field: str) -> np.ndarray:
    if name not in arrays:
        known = ", ".join(sorted(n for n in arrays if n.startswith(name.split("/")[0]))) or "none"
        raise ConfigError("view", field, f"the data have no {name!r}; known: {known}")
    return arrays[name]
