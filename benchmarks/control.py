"""arm_node at pace realtime while an episode runs and render_node draws the cameras: time per 1 kHz cycle, and overruns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import BenchResult, Measure, say

TASK, NAMESPACE = "lift", "bench"
MEDIAN_LIMIT = 0.2e-3
OVERRUN_LIMIT = 0.005
WINDOW = 10
"""s: arm_node's statistics cover its last 10,000 cycles"""
HERE = Path(__file__).resolve().parent


def run(quick: bool = False) -> BenchResult:
    from apprentice_core.cell import EpisodeRequest, ResetRequest
    from apprentice_runtime.ros_cell import RosCell
    from apprentice_workflows.demo.cell_process import CellProcess

    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    windows = 1 if quick else 6
    seconds = windows * WINDOW
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = {"task": TASK, "namespace": NAMESPACE, "data": str(folder / "bags"), "pace": "realtime"}
        with CellProcess(arguments, folder / "cell.log"):
            cell = RosCell(NAMESPACE, TASK, pace="realtime")
            try:
                # Before all else: a second of imports beside an episode would be the bench's own doing.
                listener = subprocess.Popen(
                    [sys.executable, HERE / "beside" / "ros_statuses.py", NAMESPACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                say("warming up")
                warm = cell.run(EpisodeRequest(TASK, "random_watcher", ResetRequest("full", seed=0), steps=WINDOW * 10, record=False))
                say(f"an episode of {seconds} s")
                steps = 0
                while steps < seconds * 10:
                    # One that presses too hard ends on the force limit; the next goes on from there.
                    left = seconds * 10 - steps
                    episode = cell.run(EpisodeRequest(TASK, "random_watcher", ResetRequest("none"), steps=left, record=False))
                    if episode.reason not in ("horizon", "force_limit"):
                        break
                    steps += max(1, episode.steps)
                output, _ = listener.communicate(timeout=30)
            finally:
                cell.close()
    statuses = json.loads(output)
    # The last status of each window: together they cover every cycle of the episode once.
    ends = statuses[len(statuses) - 1 :: -(WINDOW * 10)][:windows]
    median = statistics.median(s["median"] for s in ends)
    overruns = statistics.fmean(s["overruns"] for s in ends)
    failures = []
    if overruns >= OVERRUN_LIMIT:
        failures.append(f"{100 * overruns:.2f} % of the cycles ended late, to stay under {100 * OVERRUN_LIMIT:g} %")
    if steps < seconds * 10:
        failures.append(f"ended after {steps} of {seconds * 10} steps: {episode.reason} (warm-up: {warm.reason})")
    return BenchResult(
        bench="control",
        ratio=MEDIAN_LIMIT / median,
        target=1.0,
        reference=f"the limit of {1e3 * MEDIAN_LIMIT:g} ms a cycle over the median measured (physics step included)",
        measures={
            "cycle_median": Measure(round(1e3 * median, 4), "ms"),
            "cycle_p99": Measure(round(1e3 * max(s["p99"] for s in ends), 4), "ms"),
            "overruns": Measure(round(100 * overruns, 4), "%"),
            "seconds": Measure(seconds, "s"),
            "steps": Measure(steps, ""),
        },
        failures=tuple(failures),
    )
