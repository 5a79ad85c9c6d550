"""Rows per second from the replay cache in windows of 16 steps (low-dimensional state and action), against single rows at random.

As context, not measured here: LeRobot 0.4.4 gave 431 to 482 such samples a second (16 actions and 2 states by `delta_timestamps`), 17 to 27
times fewer than the same dataset without windows (8,000 to 12,500 a second), and users report 10 to 40 times. A reader whose windows are
slices of memory-mapped columns has no reason to be slower than one of single rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import BenchResult, Measure, say, seconds, turns
from benchmarks.sampler import record

BATCH = 256
LENGTH = 16
STATE = ("joints/position", "joints/velocity", "tool/pose", "tool/twist", "gripper/position")


def run(quick: bool = False) -> BenchResult:
    from apprentice_store.replay_cache import ReplayCache
    from apprentice_store.store import Store

    episodes, batches, rounds = (4, 100, 3) if quick else (25, 400, 9)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        say(f"recording {episodes} episodes of the lift cell into bags")
        record(folder, episodes, cameras=False)
        with Store(folder) as store:
            cache = ReplayCache.build(store, store.manifest("kind = 'episode'"), names=STATE)
        names = (*STATE, "action/executed")
        random = np.random.default_rng(0)
        starts = [random.choice(cache.transitions, BATCH) for _ in range(batches)]
        singles = [random.integers(0, len(cache), BATCH * LENGTH) for _ in range(batches)]
        windows_out, rows_out = cache.batch(BATCH, names, LENGTH), cache.batch(BATCH * LENGTH, names)

        def windows() -> float:
            return batches * BATCH / seconds(lambda: [cache.windows(s, LENGTH, names, windows_out) for s in starts])

        def rows() -> float:
            return batches * BATCH * LENGTH / seconds(lambda: [cache.sample(s, names, rows_out) for s in singles])

        windows(), rows()
        rate = turns({"windows": windows, "rows": rows}, rounds)
        size = sum(a.nbytes for a in rows_out.values()) / (BATCH * LENGTH)
    return BenchResult(
        bench="windows",
        ratio=rate["windows"] * LENGTH / rate["rows"],
        target=0.5,
        reference="single rows of the same columns at random, same number of rows, same run",
        measures={
            "windows": Measure(round(rate["windows"]), "1/s"),
            "rows_in_windows": Measure(round(rate["windows"] * LENGTH), "1/s"),
            "single_rows": Measure(round(rate["rows"]), "1/s"),
            "bytes_per_row": Measure(size, "B"),
            "cache_rows": Measure(len(cache), ""),
        },
    )
