"""Step G, and any controlled comparison: policies on the same starts, in shuffled order, on request without their names
(spec 000 section 2.13, lines 73 to 78)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice_core.bundle import bundle_id, read_manifest
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.config import TaskConfig
from apprentice_core.errors import BagError
from apprentice_core.statistics import percentile
from apprentice_store.store import Store
from apprentice_workflows.cells import POLICY
from apprentice_workflows.cli.progress import bars
from apprentice_workflows.episodes import EVALUATION_SEED, Tally, finished, named_starts
from apprentice_workflows.wheel.context import WheelContext
from apprentice_workflows.wheel.rig import Rig

EVALUATE = "evaluate"
RANDOM_STARTS = 50
"""paper: lift_cloth's evaluation (spec 000 section 2.13)"""
SPARSE = "scripted/sparse"
"""the reward that tells at which step success was reached"""


def evaluation_starts(task: TaskConfig, sets: Sequence[str], repeats: int) -> dict[str, list[ResetRequest]]:
    """By set: its named starts once each (0 repeats; the paper's ten), or `repeats` varied starts with seeds that no collection uses. A set
    that names no start is a random one, of which 0 repeats mean the paper's fifty."""

    def starts(group: str) -> list[ResetRequest]:
        if not repeats and task.starts[group]:
            return named_starts(task, [group])
        return [ResetRequest(initial_state=group, seed=EVALUATION_SEED + i) for i in range(repeats or RANDOM_STARTS)]

    return {s: starts(s) for s in sets}


class Comparison:
    """Policies (name -> bundle) on the starts of some sets. What is run already is read from the store, by tag, bundle and start."""

    def __init__(
        self, store: Store, rig: Rig, task: TaskConfig, policies: Mapping[str, Path], starts: Mapping[str, Sequence[ResetRequest]], tag: str
    ):
        self.store, self.rig, self.task, self.policies, self.starts, self.tag = store, rig, task, dict(policies), dict(starts), tag
        self.ids = {name: bundle_id(read_manifest(bundle)) for name, bundle in self.policies.items()}

    def _where(self, name: str) -> str:
        return f"tag = '{self.tag}' and bundle_id = '{self.ids[name]}'"

    def tally(self, name: str, group: str) -> Tally:
        """What became of a policy on a set so far; a judgement that was corrected since counts as corrected."""
        rows, _ = self.rig.missing(self._where(name), self.starts[group])
        return self.rig.tally(name, rows)

    def trials(self, seed: int = 0) -> list[tuple[str, ResetRequest]]:
        """(policy, start) of all that is still to run, in an order that says nothing about which policy comes next."""
        todo = [
            (name, start) for name in self.policies for group in self.starts
            for start in self.rig.missing(self._where(name), self.starts[group])[1]
        ]
        order = np.random.default_rng([seed, 13]).permutation(len(todo))
        return [todo[i] for i in order]

    def letters(self, seed: int = 0) -> dict[str, str]:
        """A neutral name for each policy, drawn anew by the seed."""
        order = np.random.default_rng([seed, 17]).permutation(len(self.policies))
        return {name: f"policy {chr(65 + int(k))}" for name, k in zip(sorted(self.policies), order, strict=True)}

    def run(self, steps: int, metadata: Mapping[str, Any], seed: int = 0, blind: bool = False, cameras: str = "agent") -> None:
        """Runs what is missing. `blind`: what is shown names no policy; the bags know. `cameras` of a cell in this process: `none` is twice
        as fast for policies that read none."""
        todo = self.trials(seed)
        if not todo:
            return
        shown_as = self.letters(seed) if blind else {n: n for n in self.policies}
        request = EpisodeRequest(
            self.task.name, POLICY, steps=steps, end_on_success=True, tags=(EVALUATE, self.tag), metadata={**metadata, "blind": blind}
        )
        with self.rig.open(self.task.name, cameras=cameras) as cell, bars() as progress:
            bar = progress.add_task(EVALUATE, total=len(todo), note="")
            for name, start in todo:
                self.rig.take_policy(cell, self.policies[name])
                ref = self.rig.run(cell, shown_as[name], start, request)
                what = "success" if ref.success else ref.reason
                progress.update(bar, advance=1, note=f"{shown_as[name]} at {start.initial_state}: {what}")


def time_to_success(store: Store, episode_ids: Sequence[str], period: float) -> dict[str, float | None]:
    """Median and 90th percentile of the seconds until success was first reached, over the episodes that reached it (line 78); None where
    none did."""
    times = []
    for episode_id in episode_ids:
        try:
            rewards = store.read(episode_id, ()).rewards.get(SPARSE)
        except BagError:
            continue
        reached = np.flatnonzero(rewards > 0.5) if rewards is not None else np.empty(0)
        if len(reached):
            times.append((int(reached[0]) + 1) * period)
    return {"episodes": len(times), **{f"{k}_s": percentile(times, q) if times else None for k, q in (("median", 50), ("p90", 90))}}


def evaluation_inputs(c: WheelContext, turn: int) -> dict[str, Any]:
    return {
        "chosen": c.state.outputs(turn, "F")["chosen"], "sets": c.config.evaluation_sets, "repeats": c.numbers.evaluation_repeats,
        "steps": c.numbers.episode_steps,
    }


def comparison(c: WheelContext, turn: int) -> Comparison:
    """The evaluation of a turn: its chosen agent on the wheel's sets. The same tag in every turn, so that an agent that is chosen again
    is not run again."""
    chosen = c.state.outputs(turn, "F")["chosen"]
    task = c.config.task_config()
    starts = evaluation_starts(task, c.config.evaluation_sets, c.numbers.evaluation_repeats)
    return Comparison(c.store, c.rig, task, {chosen["name"]: c.found(chosen["bundle"])}, starts, f"wheel/{c.config.name}/G")


def evaluate(c: WheelContext, turn: int) -> dict[str, Any]:
    """Step G: the turn's agent on fixed starts, deterministic, and how long it takes beside the demonstrators."""
    held = comparison(c, turn)
    held.run(c.numbers.episode_steps, c.metadata(turn), seed=turn, blind=c.blind)
    (name,) = held.policies
    tallies = {group: held.tally(name, group) for group in held.starts}
    period = c.store.catalogue.get(tallies[next(iter(tallies))].refs[0].episode_id)
    assert period is not None
    seconds = period.duration / max(1, period.steps)
    demos = [r.episode_id for r in finished(c.store, c.config.datasets.demos)]
    return {
        "policy": name, "bundle_id": held.ids[name],
        "sets": {g: {"successes": t.successes, "episodes": len(t.refs)} for g, t in tallies.items()},
        "time_to_success": {
            "agent": time_to_success(c.store, [r.episode_id for t in tallies.values() for r in t.refs], seconds),
            "demonstrations": time_to_success(c.store, demos, seconds),
        },
    }
