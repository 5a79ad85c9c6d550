"""`apprentice trials`."""

from __future__ import annotations

from typing import Annotated

import typer

from apprentice_workflows.cli.cell_options import Cameras, CellName, InProcess, Namespace
from apprentice_workflows.cli.store import Data, open_store


def trials(
    evaluation: Annotated[str, typer.Argument(help="Id of an evaluation that was made in Studio.")],
    data: Data = None,
    operator: Annotated[bool, typer.Option("--operator", help="Wait after each trial for a person's word in Studio.")] = False,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="You place the objects, by Studio's pictures; the arm goes home.")] = False,
    steps: Annotated[int, typer.Option(min=0, help="Control steps; 0: the task's horizon.")] = 0,
    cell: CellName = "sawyer_lift",
    in_process: InProcess = False,
    namespace: Namespace = "cell",
    cameras: Cameras = "agent",
) -> None:
    """Run the open trials of a controlled evaluation in their order; of a blind one only labels are shown. It can be stopped and goes on.

    Examples:

      apprentice trials 01KB... -d bags/wheel --in-process

      apprentice trials 01KB... -d bags --operator
    """
    from apprentice_store.evaluations import Evaluations, Trial
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.trials import run_trials

    with open_store(data) as store:
        book = Evaluations(store.catalogue)
        plan = book.get(evaluation)
        choice = CellChoice(in_process, plan.task, cell, namespace, store.folder if in_process else None, cameras)

        def ask(trial: Trial) -> None:
            typer.echo(f"  {trial.start}: say in Studio whether it succeeded")

        def place(trial: Trial) -> None:
            typer.prompt(f"place the objects as in {trial.start}, then press Enter", default="", show_default=False)

        done = run_trials(book, evaluation, lambda bundle: open_cell(choice, bundle), steps, operator, ask, place if by_hand else None)
        for trial, ref in done:
            name = trial.label if plan.hidden else trial.policy
            told = "recorded" if operator else "success" if ref.success else "failure"
            typer.echo(f"{trial.number + 1}/{len(plan.trials)}  {trial.start}  {name}: {told}")
        typer.echo(f"{len(book.get(evaluation).open)} of {len(plan.trials)} trials are open")
