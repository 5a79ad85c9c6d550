"""`apprentice trials`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apprentice_workflows.cli.cell_options import Cameras, InProcess, Namespace
from apprentice_workflows.cli.output import percent, print_table
from apprentice_workflows.cli.store import Data, open_store

if TYPE_CHECKING:  # help must not wait for the database's library
    from apprentice_store.catalogue import Catalogue
    from apprentice_store.evaluations import Evaluation


def trials(
    evaluation: Annotated[str, typer.Argument(help="Id of an evaluation that was made in Studio, or a task whose own trials are planned.")],
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="With a task: a bundle's folder or a source of the cell; may be repeated.")
    ] = None,
    data: Data = None,
    operator: Annotated[bool, typer.Option("--operator", help="Wait after each trial for a person's word in Studio.")] = False,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="You place the objects, by Studio's pictures; the arm goes home.")] = False,
    steps: Annotated[int, typer.Option(min=0, help="Control steps; 0: the task's horizon.")] = 0,
    base: Annotated[str, typer.Option(help="Base controller below a bundle's residual, where the task has a commanded goal.")] = "",
    goal: Annotated[
        str, typer.Option(help="X,Y,Z of the tool with the part where it belongs, m, as calibrated; the simulated scene's by default.")
    ] = "",
    cell: Annotated[str, typer.Option("--cell", help="Cell config (config/cells); by default one whose scene is the task's.")] = "",
    in_process: InProcess = False,
    namespace: Namespace = "cell",
    cameras: Cameras = "agent",
) -> None:
    """Run the open trials of a controlled evaluation in their order; of a blind one only labels are shown. It can be stopped and goes on.

    Each is verified by true poses, or by the connection where there are none, beside a person's word; who had to step in is counted. A task
    with a commanded goal (insertion, assembly) is driven by a base controller, a bundle being its residual.

    Examples:

      apprentice trials 01KB... -d bags/wheel --in-process

      apprentice trials 01KB... -d bags --operator

      apprentice trials assemble_blocks -p hand_controller -p runs/residual/bundles/8000 --in-process
    """
    from apprentice_store.evaluations import Evaluations, Trial
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.trials import plan_of_task, protocol_of, run_trials

    with open_store(data) as store:
        book = Evaluations(store.catalogue)
        plan = book.get(evaluation) if not policy else plan_of_task(book, evaluation, policy)
        if policy:
            typer.echo(f"evaluation {plan.evaluation_id}: {len(plan.trials)} trials")
        chosen, protocol = protocol_of(plan.task, cell, base, goal, in_process)
        below = "" if protocol is None else protocol.base
        choice = CellChoice(in_process, plan.task, chosen, namespace, store.folder if in_process else None, cameras, base=below)

        def ask(trial: Trial) -> None:
            typer.echo(f"  {trial.start}: say in Studio whether it succeeded")

        def place(trial: Trial) -> None:
            typer.prompt(f"place the objects as in {trial.start}, then press Enter", default="", show_default=False)

        def mend(reason: str) -> None:
            if in_process:
                typer.echo(f"  the reset failed: {reason}; the next one puts everything back")
            else:
                typer.prompt(f"the reset failed: {reason}. Put the cell in order, then press Enter", default="", show_default=False)

        done = run_trials(
            book, plan.evaluation_id, lambda bundle: open_cell(choice, bundle), steps, operator, ask, place if by_hand else None, protocol,
            store, mend,
        )
        for trial, ref in done:
            name = trial.label if plan.hidden else trial.policy
            told = "recorded" if operator else ref.reason if protocol is not None else "success" if ref.success else "failure"
            typer.echo(f"{trial.number + 1}/{len(plan.trials)}  {trial.start}  {name}: {told}")
        _show(store.catalogue, book.get(plan.evaluation_id))


def _show(catalogue: Catalogue, plan: Evaluation) -> None:
    """x/20 with its Wilson interval by policy and condition, and what poses or connection say beside it (spec 001c A28)."""
    from apprentice_store.evaluations import checks, tallies

    known, rows = checks(catalogue, plan), []
    for name, cells in tallies(plan).items():
        for condition, (won, judged) in cells.items():
            mine = [t.number for t in plan.trials if t.condition == condition and name == (t.label if plan.hidden else t.policy)]
            told = [known[n].success for n in mine if n in known and known[n].success is not None]
            helped = sum(known[n].steps > 0 for n in mine if n in known)
            rows.append((condition, name, _rate(won, judged), _rate(sum(map(bool, told)), len(told)), str(helped)))
    print_table(
        f"{plan.task}: {len(plan.open)} of {len(plan.trials)} trials are open, {plan.interventions} interventions between trials",
        ("condition", "policy", "success (95 % interval)", "by poses or connection", "helped"), rows,
    )


def _rate(successes: int, trials: int) -> str:
    from apprentice_core.statistics import wilson

    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({percent(low)} to {percent(high)})" if trials else "-"
