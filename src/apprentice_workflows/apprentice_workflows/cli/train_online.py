"""`apprentice train-online`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train_online(
    config: Annotated[str, typer.Argument(help="An online config: a name in config/online, or a YAML file.")],
    cell: Annotated[str, typer.Option("--cell", help="Cell config whose observation and actions the episodes have.")],
    task: Annotated[str, typer.Option("--task", help="Task config.")],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="The data folder that actors commit to.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; runs/<config> by default.")] = None,
    cameras: Annotated[str, typer.Option("--cameras", help="Cameras of the cell: agent, all, none, or names.")] = "agent",
    where: Annotated[str, typer.Option("--where", "-w", help="Only these episodes, e.g. \"tag = 'train'\".")] = "",
    prior: Annotated[str, typer.Option("--prior", help="Which episodes are demonstrations or earlier data.")] = "",
    base_hash: Annotated[str, typer.Option("--base-hash", help="Refuse episodes of another base controller.")] = "",
    initial: Annotated[Path | None, typer.Option("--initial", help="A checkpoint to start from where there is nothing to resume.")] = None,
) -> None:
    """Learn from a data folder while actors commit episodes to it: the trainer of a running cell, in a process of its own.

    After each look that found new episodes it exports a policy bundle into OUT/bundles, which actors take up between episodes. Ctrl-C or
    SIGTERM ends it with a checkpoint; the same command goes on to the bit. What it does cannot hold up the cell.

    Examples:

      apprentice train-online sac_residual --cell sawyer_insertion --task insert_usb -d bags/cell -o runs/usb
    """
    from apprentice_core.cell_factory import choose_cameras, make_cell_spec
    from apprentice_core.config import load_cell, load_robot, load_task
    from apprentice_core.paths import data_dir
    from apprentice_learning.online.config import load_online_config
    from apprentice_learning.online.journal import EPISODES
    from apprentice_learning.online.train import train_online as run_training

    chosen, cell_config, task_config = load_online_config(config), load_cell(cell), load_task(task)
    spec = make_cell_spec(load_robot(cell_config.robot), cell_config, task_config, choose_cameras(cell_config, task_config, cameras))
    folder = out or Path("runs") / chosen.name
    result = run_training(
        chosen, data or data_dir(), folder, spec, goals={"position": 3}, where=where or EPISODES, prior_where=prior,
        base_hash=base_hash or None, initial=initial, resume=True,
        progress=lambda done, total, _: typer.echo(f"{done}/{total} steps", err=True),
    )
    if result.stopped:
        typer.echo(f"stopped after {result.steps} steps; the same command goes on from the checkpoint in {folder}", err=True)
        raise typer.Exit(130)
    typer.echo(f"{result.bundle} ({result.bundle_id}) after {result.steps} steps in {result.wall_s:.0f} s")
