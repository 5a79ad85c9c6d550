"""`apprentice evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apprentice_workflows.cli.cell_options import Cameras, CellName, Data, InProcess, Namespace, Task
from apprentice_workflows.cli.output import JsonFlag, percent, print_json, print_table


def evaluate(
    bundle: Annotated[Path | None, typer.Option("--bundle", "-b", help="The policy's bundle; without one, --source is judged.")] = None,
    source: Annotated[str, typer.Option("--source", "-s", help="Who drives where no bundle is given.")] = "random_watcher",
    episodes: Annotated[int, typer.Option("--episodes", "-n", min=0, help="How many; 0: every named start once.")] = 25,
    starts: Annotated[
        list[str] | None, typer.Option(help="A named set (normal, hard, unseen) or one start (normal/n0); may be repeated. Without: seeds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first start, where no set is named; far from collection's.")] = 1_000_000,
    task: Task = "lift",
    cell: CellName = "sawyer_lift",
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Success does not end an episode.")] = False,
    in_process: InProcess = False,
    namespace: Namespace = "cell",
    data: Data = None,
    cameras: Cameras = "agent",
    as_json: JsonFlag = False,
) -> None:
    """Judge a policy (or a script) over many episodes: success with its Wilson interval.

    Examples:

      apprentice evaluate -b bags/demo/policies/bc/bundle -t lift_demo --in-process

      apprentice evaluate -b bags/demo/policies/bc/bundle --starts normal --starts hard -n 0
    """
    from apprentice_core.cell import EpisodeRequest
    from apprentice_core.config import load_task
    from apprentice_core.errors import ApprenticeError
    from apprentice_workflows.cells import POLICY, CellChoice, open_cell
    from apprentice_workflows.cli.progress import episode_progress
    from apprentice_workflows.episodes import Tally, as_dict, named_starts, run_episodes, seeded_starts

    if not episodes and not starts:
        raise ApprenticeError("--episodes 0 means every named start once: name a set with --starts")
    chosen = named_starts(load_task(task), starts, episodes) if starts else seeded_starts(episodes, seed)
    driver = POLICY if bundle is not None else source
    tally = Tally(str(bundle) if bundle is not None else source)
    request = EpisodeRequest(task, driver, end_on_success=not keep_going, record=not in_process or data is not None, tags=("evaluate",))
    with (
        open_cell(CellChoice(in_process, task, cell, namespace, data, cameras), bundle) as running,
        episode_progress(driver, len(chosen), tally) as shown,
    ):
        for ref in run_episodes(running, chosen, request):
            tally.refs.append(ref)
            shown()
    facts = as_dict(tally, {"task": task, "starts": starts or f"seeds from {seed}", "bundle": str(bundle or "")})
    if as_json:
        print_json(facts)
        return
    low, high = facts["wilson_low"], facts["wilson_high"]
    row = (
        tally.name,
        f"{tally.successes}/{len(tally.refs)}",
        percent(tally.successes / max(1, len(tally.refs))),
        f"{percent(low)} to {percent(high)}",
        f"{tally.steps / max(1, len(tally.refs)):.1f}",
        ", ".join(f"{k} {v}" for k, v in tally.reasons().items()),
    )
    print_table(f"{task}, {facts['starts']}", ("driver", "successes", "rate", "95 % interval", "steps an episode", "ended by"), [row])
