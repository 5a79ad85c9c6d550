"""arm_node at pace realtime while an episode runs and render_node draws the cameras: time per 1 kHz cycle, and overruns; the same once more
beside a trainer."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apprentice_core.cell import EpisodeRequest, ResetRequest
from benchmarks.common import BenchResult, Measure, say

TASK, NAMESPACE = "lift", "bench"
MEDIAN_LIMIT = 0.2e-3
OVERRUN_LIMIT = 0.005
WINDOW = 10
"""s: arm_node's statistics cover its last 10,000 cycles"""
BESIDE = Path(__file__).resolve().parent / "beside"
ROOT = BESIDE.parents[1]


@dataclass(frozen=True)
class Run:
    """Cycles of some windows: seconds, share that ended late, and how the last episode ended."""

    median: float
    p99: float
    overruns: float
    steps: int
    reason: str


def _run(cell, windows: int) -> Run:  # type: ignore[no-untyped-def]
    # Before all else: a second of imports beside an episode would be the bench's own doing.
    command = [sys.executable, BESIDE / "ros_statuses.py", NAMESPACE]
    listener = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    cell.run(EpisodeRequest(TASK, "random_watcher", ResetRequest("full", seed=0), steps=WINDOW * 10, record=False))
    say(f"an episode of {windows * WINDOW} s")
    steps, reason = 0, ""
    while steps < windows * WINDOW * 10:
        # One that presses too hard ends on the force limit; the next goes on from there.
        left = windows * WINDOW * 10 - steps
        episode = cell.run(EpisodeRequest(TASK, "random_watcher", ResetRequest("none"), steps=left, record=False))
        reason = episode.reason
        if reason not in ("horizon", "force_limit"):
            break
        steps += max(1, episode.steps)
    statuses = json.loads(listener.communicate(timeout=30)[0])
    # The last status of each window: together they cover every cycle of the episode once.
    ends = statuses[len(statuses) - 1 :: -(WINDOW * 10)][:windows]
    median, overruns = statistics.median(s["median"] for s in ends), statistics.fmean(s["overruns"] for s in ends)
    return Run(median, max(s["p99"] for s in ends), overruns, steps, reason)


@contextmanager
def _trainer() -> Iterator[None]:
    """Updates in another process for as long as the context is open."""
    training = subprocess.Popen(
        [sys.executable, BESIDE / "trainer.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    try:
        assert training.stdout is not None
        if training.stdout.readline().strip() != b"ready":
            raise RuntimeError("the trainer beside did not start")
        yield
    finally:
        updates = training.communicate(timeout=30)[0]
        say(f"{int(updates or 0)} updates beside")


def run(quick: bool = False) -> BenchResult:
    from apprentice_runtime.ros_cell import RosCell
    from apprentice_workflows.demo.cell_process import CellProcess

    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    windows = 1 if quick else 6
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = {"task": TASK, "namespace": NAMESPACE, "data": str(folder / "bags"), "pace": "realtime"}
        with CellProcess(arguments, folder / "cell.log"):
            cell = RosCell(NAMESPACE, TASK, pace="realtime")
            try:
                alone = _run(cell, windows)
                with _trainer():
                    beside = _run(cell, max(1, windows // 3))
            finally:
                cell.close()
    failures = []
    if alone.overruns >= OVERRUN_LIMIT:
        failures.append(f"{100 * alone.overruns:.2f} % of the cycles ended late, to stay under {100 * OVERRUN_LIMIT:g} %")
    if alone.steps < windows * WINDOW * 10:
        failures.append(f"ended after {alone.steps} of {windows * WINDOW * 10} steps: {alone.reason}")
    return BenchResult(
        bench="control",
        ratio=MEDIAN_LIMIT / alone.median,
        target=1.0,
        reference=f"the limit of {1e3 * MEDIAN_LIMIT:g} ms a cycle over the median measured (physics step included)",
        measures={
            "cycle_median": Measure(round(1e3 * alone.median, 4), "ms"),
            "cycle_p99": Measure(round(1e3 * alone.p99, 4), "ms"),
            "overruns": Measure(round(100 * alone.overruns, 4), "%"),
            "seconds": Measure(windows * WINDOW, "s"),
            "steps": Measure(alone.steps, ""),
            "overruns_beside_trainer": Measure(round(100 * beside.overruns, 4), "%, no target: a trainer takes one core meanwhile"),
            "median_beside_trainer": Measure(round(1e3 * beside.median, 4), "ms"),
            "steps_beside_trainer": Measure(beside.steps, f"ended by {beside.reason}"),
        },
        failures=tuple(failures),
    )
