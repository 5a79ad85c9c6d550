"""`apprentice train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[str, typer.Argument(help="A training config: a name in config/learning, or a YAML file.")],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="The data folder; $APPRENTICE_DATA or bags/ by default.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run: checkpoints, metrics, TensorBoard, bundle; runs/<config> by default."),
    ] = None,
    where: Annotated[str, typer.Option("--where", "-w", help="Only these episodes, e.g. \"tag = 'collect'\".")] = "",
    steps: Annotated[int, typer.Option(min=0, help="Updates; 0: the config's.")] = 0,
    seed: Annotated[int, typer.Option(min=-1, help="-1: the config's.")] = -1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder, where there is one.")] = False,
) -> None:
    """Train a policy offline, from bags only. Ctrl-C stops with a checkpoint (exit code 130); --resume goes on to the bit.

    Examples:

      apprentice train bc_demo -d bags/demo/episodes -o runs/bc

      apprentice train iql_demo -d bags/demo/episodes -w "tag = 'collect'" --resume
    """
    from apprentice_core.paths import data_dir
    from apprentice_learning.config import load_train_config
    from apprentice_learning.train import EPISODES
    from apprentice_learning.train import train as run_training

    chosen = load_train_config(config)
    if steps:
        # A learning rate that ends at the config's last update must end at the new one.
        fields = chosen.model_dump()
        settings = fields["learner"]["settings"]
        if settings.get("cosine_steps"):
            settings["cosine_steps"] = steps
        chosen = type(chosen).model_validate({**fields, "steps": steps})
    if seed >= 0:
        chosen = chosen.model_copy(update={"seed": seed})
    folder = out or Path("runs") / chosen.name
    result = run_training(chosen, data or data_dir(), folder, resume, where or EPISODES)
    if result.stopped:
        typer.echo(f"stopped after {result.steps} updates; --resume goes on from the checkpoint in {folder}", err=True)
        raise typer.Exit(130)
    typer.echo(f"{result.bundle} ({result.bundle_id}) after {result.steps} updates in {result.wall_s:.0f} s")
