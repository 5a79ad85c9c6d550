"""`apprentice reward-train`, `relabel` and `delusions`: steps D and E of the wheel, and what sends episodes back to C (spec 000)."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from apprentice_workflows.cli.output import JsonFlag, print_json, print_table
from apprentice_workflows.cli.progress import stages
from apprentice_workflows.cli.store import Data, Where, existing_data, open_store

Task = Annotated[str, typer.Argument(help="The task whose sketches, model and predicted rewards these are.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")]


class EngineName(StrEnum):
    """Where bags are scored."""

    process = "process"
    ray = "ray"


class DelusionMode(StrEnum):
    """What makes an episode suspicious."""

    failure = "failure"
    ensemble = "ensemble"
    versions = "versions"


def _device(name: str) -> str:
    from apprentice_learning.rewards.train import best_device

    return best_device() if name == "auto" else name


def reward_train(
    task: Task,
    data: Data = None,
    config: Annotated[str, typer.Option("--config", "-c", help="A name in config/rewards (or sketch_small), or a YAML file.")] = "sketch",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Checkpoints and metrics; runs/reward_<task>_<config> by default.")
    ] = None,
    where: Where = "",
    revision: Annotated[int, typer.Option(min=-1, help="Learn from the sketches as they were at this annotation revision; -1: now.")] = -1,
    members: Annotated[int, typer.Option(min=0, help="Size of the ensemble; 0: the config's. 3 let `delusions` compare them.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Updates of each member; 0: the config's.")] = 0,
    seed: Annotated[int, typer.Option(min=-1, help="-1: the config's.")] = -1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint, with the sketches of that run.")] = False,
    device: Device = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Fit the reward model of a task to its sketches (ranking loss). The bundle goes to models/reward/TASK/ in the data folder.

    Ctrl-C stops with a checkpoint (exit code 130); --resume goes on to the bit.

    Examples:

      apprentice reward-train lift -d bags/wheel

      apprentice reward-train lift -c sketch_small --members 3 --resume
    """
    from apprentice_learning.rewards.config import load_reward_config
    from apprentice_learning.rewards.train import train_reward

    changes: dict[str, Any] = {"task": task}
    changes |= {k: v for k, v in (("members", members), ("steps", steps)) if v}
    if seed >= 0:
        changes["seed"] = seed
    chosen = load_reward_config(config, **changes)
    folder = out or Path("runs") / f"reward_{task}_{chosen.name}"
    with stages() as shown:
        def progress(what: str, done: int, total: int, metrics: dict[str, float]) -> None:
            accuracy = metrics.get("validation/pair_accuracy")
            shown(what, done, total, "" if accuracy is None else f"held-out pairs in order {accuracy:.3f}")

        result = train_reward(
            chosen, existing_data(data), folder, resume=resume, revision=None if revision < 0 else revision, where=where,
            device=_device(device), progress=progress,
        )
    for reason in result.refused.values():
        typer.echo(f"sketch left out: {reason}", err=True)
    for episode_id in result.skipped:
        typer.echo(f"episode left out: {episode_id}: its bag cannot be read", err=True)
    if result.stopped:
        typer.echo(f"stopped; --resume goes on from the checkpoint in {folder}", err=True)
        raise typer.Exit(130)
    if as_json:
        print_json(asdict(result))
        return
    rows = [
        ("bundle", result.bundle), ("id", result.bundle_id), ("sketches", f"{result.sketches} of {result.episodes} episodes"),
        ("revision", result.revision), *((k.removeprefix("validation/"), f"{v:.3f}") for k, v in result.metrics.items()),
    ]
    print_table(f"reward model of {task}", ("what", "value"), rows)


def relabel(
    task: Task,
    data: Data = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Id or folder of a reward bundle; the newest of the task by default.")] = "",
    where: Where = "",
    engine: Annotated[EngineName, typer.Option("--engine", help="process: here; ray: a Ray cluster.")] = EngineName.process,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes, or Ray actors.")] = 1,
    address: Annotated[str, typer.Option("--address", help="Of a running Ray cluster; $RAY_ADDRESS, or a local one, by default.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and label new episodes as they arrive, until Ctrl-C.")] = False,
    device: Device = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Let a reward model score every frame of every episode, of any task and age. What it has scored already is left as it is.

    Each episode is written as it is done, so this can be killed and called again. Damaged bags are skipped and counted. Exit code 130
    after Ctrl-C (but 0 with --watch).

    Examples:

      apprentice relabel lift -d bags/wheel -j 2

      apprentice relabel lift --watch

      apprentice relabel lift --engine ray -j 16 --address ray-head:6379
    """
    from apprentice_learning.rewards.models import find_model
    from apprentice_learning.rewards.relabel import EPISODES, Relabeller
    from apprentice_learning.rewards.relabel import relabel as run
    from apprentice_learning.run_state import interrupt

    folder = existing_data(data)
    bundle = find_model(folder, task, model)
    running: list[Relabeller] = []

    def stop() -> None:
        for relabeller in running:
            relabeller.stop()

    with stages() as shown, interrupt(stop):
        result = run(
            folder, task, bundle, where=where or EPISODES, engine=engine.value, workers=workers, device=_device(device), address=address,
            watch=watch, on_start=running.append,
            progress=lambda done, total, so_far: shown(
                f"relabelling {task}", done, total, f"{so_far.frames_per_s:.0f} frames/s, {len(so_far.skipped)} skipped"
            ),
        )
    for episode_id, reason in result.skipped.items():
        typer.echo(f"skipped: {episode_id}: {reason}", err=True)
    if as_json:
        print_json({**asdict(result), "frames_per_s": result.frames_per_s, "bundle": bundle})
    else:
        typer.echo(
            f"{result.model_id}: {result.episodes} episodes ({result.frames} frames) scored in {result.wall_s:.1f} s, {result.known} were "
            f"already, {len(result.skipped)} skipped"
        )
    if result.stopped and not watch:
        raise typer.Exit(130)


def delusions(
    task: Task,
    data: Data = None,
    mode: Annotated[
        DelusionMode,
        typer.Option(
            "--mode",
            help="failure: judged failed, but predicted high; ensemble: the members disagree; versions: this model and the one before do.",
        ),
    ] = DelusionMode.failure,
    model: Annotated[str, typer.Option("--model", "-m", help="Id of the model; the newest that has labelled by default.")] = "",
    where: Where = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The worst so many.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="Also episodes that have been sketched for the task.")] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Send them to Studio's sketch queue (tag delusion_candidate).")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List episodes in which the reward model is likely fooled, worst first: what to sketch next.

    Examples:

      apprentice delusions lift -d bags/wheel

      apprentice delusions lift --mode ensemble -n 50 --queue
    """
    from apprentice_learning.rewards.delusions import DelusionFinder

    with open_store(data) as store:
        finder = DelusionFinder(store, task, model)
        found = finder.find(mode.value, limit, where, not every)
        queued = finder.queue(found) if queue else []
    for reason in finder.unreadable.values():
        typer.echo(f"left out: {reason}", err=True)
    if as_json:
        print_json({"task": task, "mode": mode.value, "delusions": [asdict(d) for d in found], "queued": queued})
        return
    rows = [(d.episode_id, f"{d.score:.3f}", d.frame, {True: "yes", False: "no", None: "?"}[d.success], d.reason) for d in found]
    print_table(f"delusions of {task}", ("episode", "score", "frame", "success", "reason"), rows)
