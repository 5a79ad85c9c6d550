"""Node processes for tests: forked from a server that has imported their modules, so that a cell of ten nodes does not cost ten seconds of
imports. Each is a process of its own, with its own DDS participant, environment, folder and log, as if by `python -m MODULE`."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PACKAGES = {
    "apprentice_runtime": (
        "episode_node", "mux_node", "policy_node", "recorder_node", "replay_node", "reset_node", "reward_node", "scripted_node",
        "supervisor_node", "teleop_node",
    ),
    "apprentice_perception": ("camera_node", "connection_node", "force_node", "tracker_node"),
    "apprentice_control": ("arm_node",),
    "apprentice_sim": ("render_node",),
}
MODULES = {executable: f"{package}.{executable}" for package, executables in PACKAGES.items() for executable in executables}
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["node_process", *MODULES.values()])


def _become(module: str, arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """In the new process: what a shell would have set up, then the node's main."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(out, number)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


class NodeProcess:
    """`name` is the node's; its exit code is None while it runs and negative when a signal ended it."""

    def __init__(self, name: str, executable: str, arguments: list[str], environment: dict[str, str], folder: Path, log: Path):
        self.name, self.log = name, log
        log.touch()
        self._process: ForkServerProcess = _server.Process(
            target=_become, args=(MODULES[executable], arguments, environment, str(folder), str(log)), name=name
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def poll(self) -> int | None:
        return self._process.exitcode

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 15.0) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise AssertionError(f"{self.name} (pid {self.pid}) did not end within {timeout:g} s:\n{self.text[-2000:]}")
        return code
