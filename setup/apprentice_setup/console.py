"""Progress of long commands on one line of a terminal, or one line a stage where the output is a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from apprentice_setup.errors import SetupError

TAIL = 25
"""lines of a failed command's log that are shown"""


class Progress:
    """`start(text)`, `note(text)` any number of times, `done()`. Writes to stderr, so that stdout stays the command's own."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.text, self.began, self.width = "", 0.0, 0

    def start(self, text: str) -> None:
        self.text, self.began = text, time.monotonic()
        if self.live:
            self.note("")
        else:
            print(f"[setup] {text} ...", file=sys.stderr, flush=True)

    def note(self, detail: str) -> None:
        if not self.live:
            return
        seconds = int(time.monotonic() - self.began)
        line = f"[setup] {self.text} ({seconds} s) {detail}"[: max(20, _columns() - 1)]
        print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
        self.width = len(line)

    def done(self) -> None:
        line = f"[setup] {self.text}: done in {time.monotonic() - self.began:.0f} s"
        print(("\r" if self.live else "") + line.ljust(self.width), file=sys.stderr, flush=True)
        self.width = 0


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 100


def run(
    command: Sequence[str],
    log: Path,
    progress: Progress,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    note: Callable[[str], str | None] = lambda line: None,
) -> None:
    """Runs `command` with its output in `log`; `note` turns a line into a progress text. SetupError with the log's end when it fails.

    The child has a session of its own and is ended with its children when we are interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", errors="replace") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                detail = note(line.strip())
                if detail is not None:
                    progress.note(detail)
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    if code != 0:
        tail = "\n".join(f"  | {line}" for line in log.read_text(encoding="utf-8").splitlines()[-TAIL:])
        raise SetupError(f"{progress.text} failed (exit {code}); the whole log is {log}\n{tail}")


def _end(process: subprocess.Popen[str]) -> None:
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
