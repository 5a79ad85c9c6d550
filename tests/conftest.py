"""A cell of real node processes over DDS, on a domain of its own: what the process-level tests share."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # node_process.py, studio_browser.py

from node_process import NodeProcess

NAMESPACE = "/cell"


@dataclass
class CellProcesses:
    """Starts nodes, keeps their logs, and ends each of them by its pid."""

    folder: Path
    domain: int
    pace: str = "lockstep"
    task: str = "lift_demo"
    cell: str = "sawyer_lift"
    nodes: dict[str, NodeProcess] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "bags"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ, "ROS_DOMAIN_ID": str(self.domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "OMP_NUM_THREADS": "1",
            "APPRENTICE_DATA": str(self.data), "ROS_LOG_DIR": str(self.folder / "log"), "PYTHONUNBUFFERED": "1",
        }

    def start(self, executable: str, key: str = "", namespace: str = NAMESPACE, **parameters: Any) -> NodeProcess:
        """`executable` is a node's name; `key` tells two of a kind apart and becomes the node's name."""
        key = key or executable
        arguments = ["--ros-args", "-r", f"__ns:={namespace}", "-r", f"__node:={key}"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        log = self.folder / f"{key}.{len(list(self.folder.glob(f'{key}.*.log')))}.log"
        node = self.nodes[key] = NodeProcess(key, executable, arguments, self.environment, self.folder, log)
        return node

    def start_cell(
        self, cameras: Sequence[str] = ("basket_front_left", "wrist_left"), scripts: Sequence[str] = ("lift_expert",), **more: Any
    ) -> None:
        """All nodes of a recording cell; `more`: node name to a dict of further parameters, or None to leave the node out."""
        common = {"pace": self.pace}
        where = {"cell": self.cell, "task": self.task}
        plan: list[tuple[str, str, dict[str, Any]]] = [
            ("arm_node", "arm_node", {**common, **where, "cameras": ",".join(cameras) or "none", "state_folder": self.folder / "state"}),
            ("force_node", "force_node", {**common, "cell": self.cell}),
            *(("render_node", f"render_{c}", {**common, "cell": self.cell, "cameras": f"[{c}]"}) for c in cameras),
            ("recorder_node", "recorder_node", {**common, "data": self.data}),
            ("episode_node", "episode_node", {**common, **where, "seed": 7}),
            ("mux_node", "mux_node", common),
            ("reward_node", "reward_node", {**common, "task": self.task}),
            ("reset_node", "reset_node", {**common, "cell": self.cell}),
            *(("scripted_node", s, {**common, **where, "script": s}) for s in scripts),
        ]
        for executable, key, parameters in plan:
            extra = more.pop(key, {})
            if extra is not None:
                self.start(executable, key, **{**parameters, **extra})
        for key, extra in more.items():
            self.start(key, key, **common, **extra)

    def stop(self, key: str, number: int = signal.SIGINT, timeout: float = 15.0) -> int:
        node = self.nodes.pop(key)
        node.signal(number)
        return node.wait(timeout)

    def close(self) -> None:
        for node in self.nodes.values():
            node.signal(signal.SIGINT)
        for node in self.nodes.values():
            try:
                node.wait(10.0)
            except AssertionError:
                node.signal(signal.SIGKILL)
                node.wait()

    @staticmethod
    def wait_until(condition: Callable[[], Any], timeout: float = 15.0, what: str = "the condition") -> Any:
        """Looks often until `condition()` is true; AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come true within {timeout:g} s")

    def logs(self) -> str:
        return "\n".join(f"--- {n.name} (exit {n.poll()})\n{n.text[-1500:]}" for n in self.nodes.values())


@contextmanager
def cell_processes(folder: Path) -> Iterator[CellProcesses]:
    """An empty cell on a random domain; every process that was started is ended."""
    from apprentice_core.ros_dds import prepare_dds, sweep_dead_segments

    sweep_dead_segments()
    prepare_dds()
    cell = CellProcesses(folder, random.SystemRandom().randint(50, 100))
    cell.folder.mkdir(exist_ok=True)
    try:
        yield cell
    finally:
        logs = cell.logs()
        cell.close()
        print(logs)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[CellProcesses]:
    with cell_processes(tmp_path) as cell:
        yield cell


@pytest.fixture(scope="module")
def module_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellProcesses]:
    """One cell for all the tests of a file that only look at it, or leave it as it was."""
    with cell_processes(tmp_path_factory.mktemp("cell")) as cell:
        yield cell


@pytest.fixture
def ros(processes: CellProcesses) -> Iterator[Callable[..., Any]]:
    """`ros(**options) -> RosCell` on the domain of `processes`, closed at the end."""
    import rclpy

    from apprentice_runtime.ros_cell import RosCell

    kept = {k: os.environ.get(k) for k in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    os.environ.update({k: processes.environment[k] for k in kept})
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    cells: list[Any] = []

    def connect(**options: Any) -> Any:
        cells.append(RosCell(NAMESPACE, **{"timeout": 40.0, **options}))
        return cells[-1]

    try:
        yield connect
    finally:
        for cell in cells:
            cell.close()
        rclpy.try_shutdown()
        for key, value in kept.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
