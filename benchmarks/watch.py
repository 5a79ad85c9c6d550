"""Episode steps per second of a lockstep cell while Studio's Watch page is open, against the same cell with no Studio at all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.common import BenchResult, Measure, percentile, say

TASK, NAMESPACE = "lift", "bench"
TARGET = 0.95
SERVE = """
import sys, uvicorn
from pathlib import Path
from apprentice_store.store import Store
from apprentice_studio.app import create_app
from apprentice_studio.watch_router import watch_routers
folder, port, namespace = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
uvicorn.run(create_app(Store(folder), extra_routers=watch_routers(namespace, folder)), host="127.0.0.1", port=port, log_level="warning")
"""
PAGE = """
import json, sys, threading
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed
turns = pictures = size = 0
with connect(f"ws://127.0.0.1:{sys.argv[1]}/api/watch", max_size=None) as socket:
    threading.Thread(target=lambda: (sys.stdin.read(), socket.close())).start()
    try:
        while True:
            text = socket.recv()
            told, size, turns = json.loads(text), size + len(text), turns + 1
            for _ in range(told["pictures"]):
                size += len(socket.recv())
                pictures += 1
            socket.send(json.dumps({"ack": told["turn"]}))
            if turns == 20:
                print("watching", flush=True)
    except ConnectionClosed:
        print(json.dumps({"turns": turns, "pictures": pictures, "bytes": size}), flush=True)
"""


class Studio:
    """Studio in a process of its own, and a page beside it that acknowledges what it gets, as a browser does."""

    def __init__(self, folder: Path):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self._arguments = [sys.executable, "-c", SERVE, str(folder), str(self.port), NAMESPACE]

    def __enter__(self) -> Studio:
        self._process = subprocess.Popen(self._arguments)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("Studio did not start")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(20)

    def open_page(self) -> None:
        """Returns when the page is being served."""
        command = [sys.executable, "-c", PAGE, str(self.port)]
        self._page = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._page.stdout is not None
        if self._page.stdout.readline().strip() != "watching":
            raise RuntimeError("the page was not served")

    def close_page(self) -> dict[str, int]:
        """What it got: turns, pictures, bytes."""
        answer, _ = self._page.communicate(timeout=20)
        found: dict[str, int] = json.loads(answer)
        return found

    def cpu(self) -> float:
        """s that the server and watch_node have used."""
        return cpu(self._process.pid)


def cpu(pid: int) -> float:
    """s of processor that a process and all below it have used."""
    process = psutil.Process(pid)
    return sum(t.user + t.system for t in (p.cpu_times() for p in (process, *process.children(recursive=True))))


def run(quick: bool = False) -> BenchResult:
    from apprentice_core.cell import EpisodeRequest, ResetRequest
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.demo.cell_process import CellProcess

    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    steps, rounds = (60, 2) if quick else (150, 7)
    times: dict[str, list[float]] = {"alone": [], "idle": [], "watched": []}
    work: dict[str, list[float]] = {"alone": [], "idle": [], "watched": []}
    load: list[float] = []
    seen = {"turns": 0, "pictures": 0, "bytes": 0}
    spent = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = {"task": TASK, "namespace": NAMESPACE, "data": str(folder / "bags"), "policy": "false"}  # what drives is the script
        with CellProcess(arguments, folder / "cell.log") as nodes, open_cell(CellChoice(False, TASK, namespace=NAMESPACE)) as cell:
            assert nodes.process is not None
            pid = nodes.process.pid

            def measure(side: str) -> None:
                # Reset `none`: a trajectory goes on where the last one stopped, so that steps alone are measured.
                start, before = time.perf_counter(), cpu(pid)
                episode = cell.run(EpisodeRequest(TASK, "lift_expert", ResetRequest("none", seed=0), steps=steps))
                if episode.steps != steps:
                    raise RuntimeError(f"the episode ended after {episode.steps} of {steps} steps: {episode.reason}")
                times[side].append((time.perf_counter() - start) / steps)
                work[side].append((cpu(pid) - before) / steps)

            cell.run(EpisodeRequest(TASK, "lift_expert", ResetRequest("full", seed=0), steps=steps))
            for turn in range(rounds):
                say(f"round {turn + 1} of {rounds}: no Studio, Studio without a page, a page open")
                measure("alone")
                with Studio(folder / "bags") as studio:
                    time.sleep(2.0)  # discovery is over
                    measure("idle")
                    studio.open_page()
                    before, began = studio.cpu(), time.perf_counter()
                    measure("watched")
                    lasted = time.perf_counter() - began
                    load.append((studio.cpu() - before) / lasted)
                    spent += lasted
                    seen = {k: seen[k] + v for k, v in studio.close_page().items()}
    # Of neighbours in time: the machine's other work then hits both alike.
    ratios = [a / w for a, w in zip(times["alone"], times["watched"], strict=True)]
    middle = {f"{what}_{side}": percentile(v, 50) for what, sides in (("step", times), ("cpu", work)) for side, v in sides.items()}
    return BenchResult(
        bench="watch",
        ratio=percentile(ratios, 50),
        target=TARGET,
        reference="the same cell with no Studio running; median over rounds of (step alone / step watched), sides in turn",
        measures={
            # cpu: what the cell's own processes spend on a step, which a busy machine hardly changes.
            **{name: Measure(round(1e3 * value, 2), "ms") for name, value in middle.items()},
            "cpu_ratio": Measure(round(middle["cpu_alone"] / middle["cpu_watched"], 4), ""),
            "lowest_ratio": Measure(round(min(ratios), 4), ""),
            "highest_ratio": Measure(round(max(ratios), 4), ""),
            "studio_cpu": Measure(round(percentile(load, 50), 4), "cores"),
            "page_turns": Measure(round(seen["turns"] / spent, 1), "1/s"),
            "page_pictures": Measure(round(seen["pictures"] / spent, 1), "1/s"),
            "page_bytes": Measure(round(seen["bytes"] / spent), "B/s"),
        },
    )
