"""A plan as running processes: prefixed output, respawn, forwarded signals, an orderly end, and no orphan."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, cast

from apprentice_workflows.launch_files import guardian
from apprentice_workflows.launch_files.plan import NodePlan
from apprentice_workflows.launch_files.substitution import package_executable

POLL = 0.1
"""s between looks at the children when nothing is written (ours)"""
LATE_OUTPUT = 0.5
"""s that the last output of a finished node is waited for: a grandchild may hold its pipe open for ever (ours)"""


@dataclass(eq=False)
class Child:
    """One node: its plan and, while it runs, its process."""

    node: NodePlan
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    pending: dict[int, bytes] = field(default_factory=dict)
    respawn_at: float | None = None
    failed: bool = False


class Supervisor:
    """Runs a plan's nodes until they have all ended or a signal comes. One thread; `run` must be called in the main thread."""

    def __init__(self, nodes: Sequence[NodePlan], write: Callable[[str], None] = lambda line: print(line, flush=True)):
        """Executables are looked up here: ApprenticeError names the package and what it has."""
        self.children = [Child(n, [str(package_executable(n.package, n.executable)), *n.command_arguments()]) for n in nodes]
        self.write = write
        self._selector = selectors.DefaultSelector()
        self._guard: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._ending_since: float | None = None
        self._sent = 0

    def run(self) -> int:
        """Exit code: 0 when every node ended well (or on our signal), 1 when one failed by itself or had to be killed."""
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(guardian.__file__))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env=_plain_environment(),
        )
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        before = {n: signal.signal(n, self._signalled) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        old_wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        try:
            for child in self.children:
                if self._asked:
                    break
                self._start(child)
            while any(c.process is not None or c.respawn_at is not None for c in self.children):
                self._turn(wake_read)
        finally:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._release()
            os.close(wake_read)
            os.close(wake_write)
        return 1 if any(c.failed for c in self.children) else 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1

    def _start(self, child: Child) -> None:
        assert self._guard is not None and self._guard.stdin is not None
        guard = self._guard.stdin.fileno()
        child.respawn_at = None
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **dict(child.node.environment)},
            preexec_fn=lambda: (os.write(guard, b"+%d\n" % os.getpid()), None)[1],  # before exec: no moment at which nobody knows of it
        )
        for pipe in (child.process.stdout, child.process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            child.pending[pipe.fileno()] = b""
            self._selector.register(pipe, selectors.EVENT_READ, child)
        self.write(f"[{child.node.label}] started, pid {child.process.pid}")

    def _turn(self, wake: int) -> None:
        for key, _ in self._selector.select(POLL):
            if key.data is None:
                os.read(wake, 512)
            else:
                self._read(key.data, cast("IO[bytes]", key.fileobj))
        if self._asked and self._ending_since is None:
            self._ending_since = time.monotonic()
            self.write("[launch] ending the nodes")
        if self._ending_since is not None:
            self._escalate()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._reap(child)
            if child.respawn_at is not None and time.monotonic() >= child.respawn_at:
                self._start(child)

    def _escalate(self) -> None:
        """SIGINT in reverse order of start, then SIGTERM, then SIGKILL; a further Ctrl-C goes on to the next at once."""
        assert self._ending_since is not None
        for child in self.children:
            child.respawn_at = None
        waited, due = time.monotonic() - self._ending_since, 0.0
        for i, (number, patience) in enumerate(guardian.PATIENCE):
            if self._sent == i and (waited >= due or self._asked > i + 1):
                self._sent += 1
                for child in reversed(self.children):
                    if child.process is not None and child.process.poll() is None:
                        if number != signal.SIGINT:
                            self.write(f"[{child.node.label}] does not end: {signal.Signals(number).name}")
                        child.failed |= number == signal.SIGKILL
                        _signal_group(child.process.pid, number)
                return
            due += patience

    def _read(self, child: Child, pipe: IO[bytes]) -> bool:
        """Forwards what a pipe has as whole lines; False at its end."""
        number = pipe.fileno()
        try:
            data = os.read(number, 65536)
        except BlockingIOError:
            return True
        *lines, child.pending[number] = (child.pending[number] + data).split(b"\n")
        for line in lines:
            self.write(f"[{child.node.label}] {line.decode(errors='replace')}")
        if data:
            return True
        if child.pending[number]:
            self.write(f"[{child.node.label}] {child.pending[number].decode(errors='replace')}")
            child.pending[number] = b""
        self._selector.unregister(pipe)
        return False

    def _reap(self, child: Child) -> None:
        process = child.process
        assert process is not None and self._guard is not None and self._guard.stdin is not None
        until = time.monotonic() + LATE_OUTPUT
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            while pipe in self._selector.get_map() and time.monotonic() < until and self._read(child, pipe):
                if not _readable(pipe):
                    break
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
            pipe.close()
        _signal_group(process.pid, signal.SIGKILL)  # what the node itself had started and left
        os.write(self._guard.stdin.fileno(), b"-%d\n" % process.pid)
        child.process, code = None, process.returncode
        ours = self._ending_since is not None and code in {0, -signal.SIGINT, -signal.SIGTERM, 130, 143}
        how = f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        self.write(f"[{child.node.label}] {'ended' if code == 0 or ours else 'FAILED'}: {how}")
        if child.node.respawn and self._ending_since is None:
            child.respawn_at = time.monotonic() + child.node.respawn_delay
        elif code != 0 and not ours:
            child.failed = True

    def _release(self) -> None:
        """Lets the guardian go; it ends what is still there (after an error of our own)."""
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.stdin.close()
            guard.wait()


def _readable(pipe: IO[bytes]) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(0))


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _plain_environment() -> dict[str, str]:
    """For the guardian, which needs nothing of ROS."""
    return {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "HOME", "LD_LIBRARY_PATH"}}
