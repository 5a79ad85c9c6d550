"""The cell's nodes under `apprentice launch`, as one child process whose end is certain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from apprentice_core.cell import Cell
from apprentice_core.errors import ApprenticeError
from apprentice_workflows.cells import CellChoice, open_cell
from apprentice_workflows.children import end_child, start_child

TAIL = 15
START_ATTEMPTS = 6
"""times the 20 s that a cell is given to answer: ten processes start at once, and the machine may be busy (ours)"""


class CellProcess:
    """Context manager: `launch/cell.launch.xml` with `arguments`, output in `log`."""

    def __init__(self, arguments: Mapping[str, str], log: Path, file: str = "cell.launch.xml"):
        self.command = [sys.executable, "-m", "apprentice_workflows", "launch", file, "--own", *(f"{k}:={v}" for k, v in arguments.items())]
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._from = 0

    def __enter__(self) -> CellProcess:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as file:
            self._from = file.tell()  # earlier lines are of an earlier run
            # Ctrl-C reaches us alone, and we end the nodes in order; killed, we take them along.
            self.process = start_child(self.command, stdout=file, stderr=file)
        return self

    def check(self) -> None:
        """ApprenticeError with the log's end when a node has failed or the runner has ended."""
        text = self.log.read_bytes()[self._from :].decode(errors="replace")
        ended = self.process is None or self.process.poll() is not None
        if ended or "] FAILED: " in text:
            tail = "\n".join(f"  | {line}" for line in text.splitlines()[-TAIL:])
            raise ApprenticeError(f"the cell {'has ended' if ended else 'has lost a node'}; its log is {self.log}\n{tail}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None:
            end_child(self.process)  # the launch runner escalates by itself within 10 s; killed, its guardian ends the nodes


@contextmanager
def answering_cell(process: CellProcess, choice: CellChoice) -> Iterator[Cell]:
    """The running cell, as soon as it answers; ApprenticeError as soon as a node has failed."""
    with ExitStack() as stack:
        for attempt in range(START_ATTEMPTS):
            process.check()
            try:
                cell = stack.enter_context(open_cell(choice))
                break
            except ApprenticeError:
                process.check()
                if attempt == START_ATTEMPTS - 1:
                    raise
        yield cell
