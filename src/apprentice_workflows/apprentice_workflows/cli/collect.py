"""`apprentice collect`."""

from __future__ import annotations

from typing import Annotated

import typer

from apprentice_workflows.cli.cell_options import Cameras, CellName, Data, InProcess, Namespace, Task


def collect(
    episodes: Annotated[int, typer.Option("--episodes", "-n", min=1, help="How many.")] = 10,
    source: Annotated[
        str, typer.Option("--source", "-s", help="Who drives: a script's or node's name, e.g. expert, random_watcher, teleop.")
    ] = "expert",
    task: Task = "lift",
    cell: CellName = "sawyer_lift",
    seed: Annotated[int, typer.Option(help="Of the first start; each episode takes the next.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Control steps; 0: the task's horizon.")] = 0,
    end_on_success: Annotated[bool, typer.Option("--end-on-success", help="Success ends an episode.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="Tag every episode (may be repeated).")] = None,
    in_process: InProcess = False,
    namespace: Namespace = "cell",
    data: Data = None,
    cameras: Cameras = "agent",
) -> None:
    """Record episodes into bags, on the running nodes or in process.

    Examples:

      apprentice collect -n 5 --in-process -t lift_demo -d bags/mine

      apprentice launch cell.launch.xml &  apprentice collect -n 20 -s random_watcher
    """
    from apprentice_core.cell import EpisodeRequest
    from apprentice_core.paths import data_dir
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.cli.progress import episode_progress
    from apprentice_workflows.episodes import Tally, run_episodes, seeded_starts

    choice = CellChoice(in_process, task, cell, namespace, (data or data_dir()) if in_process else None, cameras, seed)
    request = EpisodeRequest(task, source, steps=steps, end_on_success=end_on_success, tags=tuple(tag or ()))
    tally = Tally(source)
    with open_cell(choice) as running, episode_progress(source, episodes, tally) as shown:
        for ref in run_episodes(running, seeded_starts(episodes, seed), request):
            tally.refs.append(ref)
            shown()
    typer.echo(f"{len(tally.refs)} episodes, {tally.steps} steps, {tally.successes} successes, {tally.lost} observations lost")
    raise typer.Exit(1 if tally.lost else 0)
