"""One call from sketches to a reward bundle: what `apprentice reward-train` runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from apprentice_core.errors import ApprenticeError
from apprentice_learning.rewards.bundles import write_reward
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_learning.rewards.models import publish, staging
from apprentice_learning.rewards.reward_trainer import MemberResult, RewardTrainer
from apprentice_learning.rewards.sketch_data import SketchedColumns
from apprentice_store.store import Store

RUN = "run.json"
Progress = Callable[[str, int, int, dict[str, float]], None]
"""(what goes on, done, in all, newest metrics)"""


@dataclass
class RewardTrainResult:
    """`stopped`: Ctrl-C ended it with a checkpoint and without a bundle. `refused`: sketches left out, by sequence id."""

    task: str
    revision: int
    sketches: int
    episodes: int
    members: list[MemberResult]
    refused: dict[str, str]
    skipped: tuple[str, ...]
    stopped: bool = False
    bundle: Path | None = None
    bundle_id: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def train_reward(
    config: RewardTrainConfig, data: Path | str, out: Path | str, *, resume: bool = False, revision: int | None = None, where: str = "",
    device: str = "cpu", progress: Progress = lambda what, done, total, metrics: None, initial: Path | None = None,
) -> RewardTrainResult:
    """Learns `config.task`'s reward from the sketches at `revision` (None: the present one) in the data folder.

    `out` takes checkpoints and metrics of each member and run.json, which pins the revision: the same call with `resume` goes on with
    these very sketches. `initial`: a bundle of the same networks to start from, where one model is fitted again and again. The bundle goes
    to models/reward/<task>/<id> in the data folder. ApprenticeError when nothing is sketched.
    """
    folder = Path(out)
    facts = _pinned(folder) if resume else None
    if facts is not None:
        revision, where = facts
    folder.mkdir(parents=True, exist_ok=True)
    network = config.network()
    with Store(data) as store:
        sketched = SketchedColumns.open(
            store, config.task, network.arrays, revision,
            lambda done, total: progress("reading bags", done, total, {}), where,
        )
    run = {"revision": sketched.sketches.revision, "where": where, "config": config.model_dump(mode="json")}
    (folder / RUN).write_text(json.dumps(run, indent=1), encoding="utf-8")
    result = RewardTrainResult(
        config.task, sketched.sketches.revision, len(sketched.curves), len(sketched.sketches.episode_ids), [], sketched.sketches.refused,
        sketched.skipped,
    )
    networks, held = [], 0
    for member in range(config.members):
        trainer = RewardTrainer(config, sketched, folder / f"member_{member}", member, device)
        held = len({c.episode_id for c in trainer.sampler.validation})
        if not (resume and trainer.resume()) and initial is not None:
            trainer.initialise(initial)
        result.members.append(trainer.run(partial(progress, f"reward model {member + 1} of {config.members}")))
        if result.members[-1].stopped:
            result.stopped = True
            return result
        networks.append(trainer.best_network())
    for name in sorted({k for m in result.members for k in m.best}):
        values = [m.best[name] for m in result.members if name in m.best]
        result.metrics[name] = sum(values) / len(values)
    built = staging(Path(data), config.task)
    result.bundle_id = write_reward(
        built, networks, name=config.name, task=config.task, config=config.model_dump(mode="json"),
        lineage={
            "annotation_revision": result.revision, "manifest": sketched.manifest, "query": where,
            "sketches": [s.sequence_id for s in sketched.sketches.sketches],
            "annotators": sorted({s.user for s in sketched.sketches.sketches}),
            "sketches_refused": result.refused, "episodes": result.episodes, "episodes_held_out": held,
            "episodes_skipped": list(result.skipped), "seed": config.seed, "steps": [m.best_step for m in result.members],
            "metrics": result.metrics,
        },
    )
    result.bundle = publish(built, Path(data), config.task, result.bundle_id)
    return result


def _pinned(folder: Path) -> tuple[int, str] | None:
    """(revision, where) of the run that began in `folder`; None where none did."""
    path = folder / RUN
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return int(raw["revision"]), str(raw["where"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ApprenticeError(f"{path}: cannot be read ({error}); train afresh in another folder") from error
