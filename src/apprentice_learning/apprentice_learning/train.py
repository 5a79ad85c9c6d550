"""One call from a data folder to a policy bundle: what `apprentice train` runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from apprentice_learning.bundles import write_policy
from apprentice_learning.config import TrainConfig, load_train_config
from apprentice_learning.data.store_columns import StoreColumns
from apprentice_learning.run_state import ProgressCallback, TrainResult
from apprentice_learning.trainer import Trainer
from apprentice_store.store import Store

BUNDLE = "bundle"
EPISODES = "kind = 'episode'"
"""resets are recorded too, and are nobody's task"""


def train(
    config: TrainConfig | str, store_path: Path | str, out: Path | str, resume: bool = False, where: str = EPISODES,
    progress: ProgressCallback | None = None,
) -> TrainResult:
    """Trains `config` (or its name in config/learning) on the bags of `store_path`; everything goes into `out`:
    checkpoints/, metrics.jsonl, tensorboard/, config.json and, when the run reaches its last step, bundle/.

    Ctrl-C leaves a checkpoint and `stopped`; the same call with `resume` goes on from it, to the same weights.
    Without `progress` a bar with the time left is drawn on standard error.
    """
    config = load_train_config(config) if isinstance(config, str) else config
    folder = Path(out)
    with Store(store_path) as store, bar("reading bags") as read:
        columns = StoreColumns.open(
            store, where, config.network.arrays, lambda done, total: read(done, total, {}), config.network.image_reduction, config.view
        )
    trainer = Trainer(config, columns, folder)
    if resume:
        trainer.resume()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json"), indent=2), encoding="utf-8")
    with bar(f"training {config.name}") as drawn:
        result = trainer.run(progress or drawn)
    if result.stopped:
        return result
    space, view = columns.spec.action_space, trainer.view
    result.bundle = folder / BUNDLE
    result.bundle_id = write_policy(
        result.bundle,
        trainer.learner.policy(),
        name=config.name,
        algorithm=config.learner.algorithm,
        action_space=space.name,
        action_space_hash=space.hash,
        control_period=columns.spec.timing.control_period,
        assumed_latency=columns.spec.timing.observation_delay + columns.spec.timing.action_delay,
        config=config.model_dump(mode="json"),
        lineage={
            "manifest": columns.manifest.hash, "query": columns.manifest.query, "annotation_revision": columns.manifest.revision,
            "episodes": len(columns.episodes), "episodes_skipped": list(columns.skipped),
            "rows": {n: {"train": len(s.train), "validation": len(s.validation)} for n, s in view.splits.items()},
            "reward": config.view.reward, "reward_model": columns.reward_model, "episodes_unlabelled": len(columns.unlabelled),
            "rewards_overridden": len(columns.manifest.rewards),
            "seed": config.seed, "step": result.steps,
        },
    )
    return result


@contextmanager
def bar(title: str) -> Iterator[ProgressCallback]:
    """A rich bar on a terminal; elsewhere a line at every tenth of the way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told = -1

        def tell(step: int, steps: int, metrics: dict[str, float]) -> None:
            nonlocal told
            if 10 * step // steps > told:
                told = 10 * step // steps
                print(f"{title}: {step}/{steps}", file=sys.stderr, flush=True)

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)

        def draw(step: int, steps: int, metrics: dict[str, float]) -> None:
            error = metrics.get("validation/action_error")
            note = "" if error is None else f" (held-out action error {error:.3f})"
            progress.update(task, completed=step, total=steps, description=title + note)

        yield draw
