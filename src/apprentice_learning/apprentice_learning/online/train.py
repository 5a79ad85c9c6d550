"""The trainer as a process of its own, over a data folder that actors commit to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from apprentice_core.cell import CellSpec
from apprentice_core.spaces import ArraySpec
from apprentice_core.streams import TRACKED
from apprentice_learning.networks.vector_input import GOAL
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.online.journal import EPISODES, StoreJournal
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.run_state import ProgressCallback, TrainResult
from apprentice_store.store import Store


def online_specs(spec: CellSpec, goals: Mapping[str, int], tracked: bool = False) -> tuple[ArraySpec, ...]:
    """What a learner may read: the cell's observation, and `goal/<name>` of so many numbers each. With `tracked` also the object poses of a
    simulation, as `tracked/<privileged array>` (spec 001c section 2.4 gives them to the residual), unless the cell's cameras track them."""
    given = [ArraySpec(GOAL + name, (size,)) for name, size in goals.items()]
    seen = any(s.name.startswith(TRACKED) for s in spec.observation)
    poses = [replace(s, name=TRACKED + s.name) for s in spec.privileged] if tracked and not seen else []
    return (*spec.observation, *given, *poses)


def train_online(
    config: OnlineConfig | str, data: Path | str, out: Path | str, spec: CellSpec, *, goals: Mapping[str, int] | None = None,
    where: str = EPISODES, prior_where: str = "", base_hash: str | None = None, initial: Path | None = None, resume: bool = False,
    poll: float = 0.5, progress: ProgressCallback | None = None, tracked: bool = False,
) -> TrainResult:
    """Learns from the episodes of `data` that fulfil `where`, as they are committed, until `config.steps` or Ctrl-C; everything goes into
    `out`: checkpoints/, bundles/ (for actors), metrics.jsonl, tensorboard/, config.json.

    `prior_where` chooses demonstrations or earlier data in the same folder (where config.prior_batch is not 0); the two must not overlap.
    `initial`: a checkpoint to start from, where there is nothing to resume. Its own process: what it does cannot hold an actor up (X17).
    """
    config = load_online_config(config) if isinstance(config, str) else config
    with Store(data) as store:
        prior = StoreJournal(store, prior_where) if prior_where else None
        trainer = OnlineTrainer(
            config, online_specs(spec, goals or {}, tracked), spec.action_space, StoreJournal(store, where), Path(out), prior, base_hash,
            spec.timing.control_period,
        )
        if not (resume and trainer.resume()) and initial is not None:
            trainer.initialise(initial)
        return trainer.follow(poll, progress)
