"""One tick of the full-size recurrent policy (two cameras, LSTM state) in PolicyRunner on one core: 99th percentile against 25 ms.

Untrained weights: as fast as any. Ticks come with pauses, as in a cell, so that caches are as cold as there. `busy` is the processor time
of the tick alone, which a neighbour on the machine lengthens less than the tick itself.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import BenchResult, Measure, percentile

PRESET, LIMIT, PAUSE = "d4pg", 25e-3, 0.03


def write_untrained(folder: Path, precision: str) -> None:
    """The preset's bundle for the lift cell."""
    import torch

    from apprentice_core.cell_factory import choose_cameras, make_cell_spec
    from apprentice_core.config import load_cell, load_robot, load_task
    from apprentice_learning.bundles import write_policy
    from apprentice_learning.config import load_train_config
    from apprentice_learning.networks.policies import RecurrentPolicy

    cell, task = load_cell("sawyer_lift"), load_task("lift")
    spec = make_cell_spec(load_robot(cell.robot), cell, task, choose_cameras(cell, task, "agent"), [], [])
    torch.manual_seed(0)
    network = load_train_config(PRESET).network.model_copy(update={"precision": precision})
    write_policy(
        folder, RecurrentPolicy(spec.observation, spec.action_space.size, network), name="untrained", algorithm="d4pg",
        action_space=spec.action_space.name, action_space_hash=spec.action_space.hash,
    )


def ticks(bundle: Path, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each tick by the wall clock and of this thread's processor time."""
    from apprentice_core.episode import EpisodeContext, Segment
    from apprentice_learning.runner import PolicyRunner

    runner, segment = PolicyRunner(bundle), Segment()
    runner.reset(EpisodeContext("bench", "lift", seed=0))
    rng = np.random.default_rng(0)
    wall, busy = [], []
    for _ in range(count):
        observation = {s.name: (rng.integers(0, 256, s.shape) if s.dtype == "uint8" else rng.normal(size=s.shape)).astype(s.dtype)
                       for s in runner.specs}
        time.sleep(PAUSE)
        start, used = time.perf_counter(), time.thread_time()
        runner.act(observation, segment)
        wall.append(time.perf_counter() - start)
        busy.append(time.thread_time() - used)
    return wall, busy


def run(quick: bool = False) -> BenchResult:
    from apprentice_learning.config import load_train_config

    count = 100 if quick else 600
    chosen = load_train_config(PRESET).network.precision
    measures, p99 = {}, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for precision in ("float32", "bfloat16"):
            write_untrained(Path(scratch) / precision, precision)
            wall, busy = ticks(Path(scratch) / precision, count)
            for name, values in (("wall", wall), ("busy", busy)):
                for q in (50, 99):
                    measures[f"{precision}_{name}_p{q}"] = Measure(round(1e3 * percentile(values, q), 2), "ms")
            if precision == chosen:
                p99 = percentile(wall, 99)
    return BenchResult(
        bench="policy_recurrent",
        ratio=LIMIT / p99,
        target=1.0,
        reference=f"{1e3 * LIMIT:g} ms over the 99th percentile of {count} ticks in {chosen}, the preset's precision",
        measures=measures,
    )
