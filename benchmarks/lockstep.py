"""Episode steps per second of `lift`, two agent cameras, through all the nodes and the recorder, against SimCell in one process.

After one whole episode of the expert each trajectory goes on where the last one stopped, so that what is measured on both sides is the
state that a lift spends most of its 200 steps in, and the dearest: a block held up.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.common import BenchResult, Measure, say, turns

TASK, NAMESPACE = "lift", "bench"
REAL_TIME = 4.0


def _nodes(folder: Path, cameras: str, steps: int, rounds: int, in_process: bool) -> dict[str, float]:
    """Steps per second: `nodes`, and beside them in turn `sim_cell` where asked for."""
    from apprentice_core.cell import Cell, EpisodeRequest, ResetRequest
    from apprentice_sim.sim_cell import SimCell
    from apprentice_workflows.cells import CellChoice, open_cell
    from apprentice_workflows.demo.cell_process import CellProcess

    def rate(cell: Cell, source: str, reset: str = "none") -> float:
        # Reset `none`: a trajectory goes on where the last one stopped (the block held up), so that steps alone are measured.
        start = time.perf_counter()
        episode = cell.run(EpisodeRequest(TASK, source, ResetRequest(reset, seed=0), steps=steps))
        spent = time.perf_counter() - start
        if episode.steps != steps:
            raise RuntimeError(f"the episode ended after {episode.steps} of {steps} steps: {episode.reason}")
        return steps / spent

    arguments = {"task": TASK, "namespace": NAMESPACE, "data": str(folder / "bags"), "all_cameras": str(cameras == "all").lower()}
    with CellProcess(arguments, folder / "cell.log"), open_cell(CellChoice(False, TASK, namespace=NAMESPACE)) as nodes:
        sides = {"nodes": lambda reset="none": rate(nodes, "lift_expert", reset)}
        if in_process:
            sim = SimCell("sawyer_lift", TASK, seed=0, cameras=cameras)
            sides["sim_cell"] = lambda reset="none": rate(sim, "expert", reset)
        for side in sides.values():
            side("full")
        result = turns(sides, rounds)
        if in_process:
            sim.close()
    return result


def run(quick: bool = False) -> BenchResult:
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    steps, rounds = (60, 2) if quick else (200, 5)
    with tempfile.TemporaryDirectory() as scratch:
        say("two agent cameras, nodes and SimCell in turn")
        two = _nodes(Path(scratch) / "two", "agent", steps, rounds, in_process=True)
        say("all six cameras, nodes alone")
        six = _nodes(Path(scratch) / "six", "all", steps, max(1, rounds // 2), in_process=False)
    period = 0.1
    real_time = two["nodes"] * period
    return BenchResult(
        bench="lockstep",
        ratio=two["nodes"] / two["sim_cell"],
        target=0.7,
        reference="SimCell in one process, same cameras, no recorder, same run",
        measures={
            "nodes_steps": Measure(round(two["nodes"], 2), "1/s"),
            "sim_cell_steps": Measure(round(two["sim_cell"], 2), "1/s"),
            "times_real_time": Measure(round(real_time, 2), ""),
            "six_cameras_steps": Measure(round(six["nodes"], 2), "1/s"),
            "six_cameras_times_real_time": Measure(round(six["nodes"] * period, 2), ""),
        },
        failures=() if real_time >= REAL_TIME else (f"{real_time:.2f} times real time, to reach {REAL_TIME:g}",),
    )
