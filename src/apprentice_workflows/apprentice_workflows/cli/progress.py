"""Progress of episodes and of training, with time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from apprentice_workflows.episodes import Tally


def bars() -> Progress:
    """On standard error, so that standard output stays the command's result."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@contextmanager
def stages() -> Iterator[Callable[[str, int, int, str], None]]:
    """Yields a function to call with (what goes on, done, in all, note): a bar for each thing that goes on, where nobody watches a line
    at each tenth of the way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told: dict[str, int] = {}

        def tell(what: str, done: int, total: int, note: str = "") -> None:
            tenth = 10 * done // max(total, 1)
            if told.get(what, -1) != tenth:
                told[what] = tenth
                console.print(f"{what}: {done}/{total} {note}".rstrip(), soft_wrap=True, highlight=False)

        yield tell
        return
    with bars() as progress:
        tasks: dict[str, TaskID] = {}

        def draw(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, note="")
            progress.update(tasks[what], completed=done, total=total, note=note)

        yield draw


@contextmanager
def episode_progress(name: str, total: int, tally: Tally) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each episode was added to `tally`. Where nobody watches, a line each tenth of the way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        every = max(1, total // 10)

        def tell() -> None:
            done = len(tally.refs)
            if done % every == 0 or done == total:
                console.print(f"{name}: {done}/{total}, {tally.successes} successes, {tally.lost} lost", soft_wrap=True)

        yield tell
        return
    with bars() as progress:
        task = progress.add_task(name, total=total, completed=len(tally.refs), note="")

        def update() -> None:
            progress.update(task, completed=len(tally.refs), note=f"{tally.successes} successes, {tally.lost} lost")

        yield update
