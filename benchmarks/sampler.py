"""Frames per second from the replay cache in training batches (frame and next frame, two cameras), against memcpy of the same bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import BenchResult, Measure, say, seconds, turns

BATCH = 256
CAMERAS = ("camera/basket_front_left", "camera/wrist_left")


def record(folder: Path, episodes: int, cameras: str | bool = "agent") -> None:
    """Episodes of random motion in the lift cell, as bags with rows."""
    from apprentice_core.cell import EpisodeRequest, ResetRequest
    from apprentice_sim.sim_cell import SimCell
    from apprentice_store.bag_sink import BagSink
    from apprentice_store.store import Store

    with Store(folder) as store:
        cell = SimCell("sawyer_lift", "lift_demo", seed=0, sink=BagSink(store), cameras=cameras)
        try:
            for i in range(episodes):
                cell.run(EpisodeRequest("lift_demo", "random_watcher", ResetRequest("full", seed=i)))
        finally:
            cell.close()


def run(quick: bool = False) -> BenchResult:
    from apprentice_learning.data.sampler import Sampler
    from apprentice_learning.data.store_columns import StoreColumns
    from apprentice_learning.data.view import DataSource, View, ViewConfig
    from apprentice_store.store import Store

    episodes, batches, rounds = (4, 20, 3) if quick else (25, 60, 9)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        say(f"recording {episodes} episodes of the lift cell into bags")
        record(folder, episodes)
        with Store(folder) as store:
            columns = StoreColumns.open(store, "kind = 'episode'", CAMERAS)
        view = View(columns, ViewConfig(sources=(DataSource(name="all"),), validation=0.0), seed=0)
        sampler = Sampler(view, CAMERAS, BATCH, seed=0, needs_next=True)
        frames = 2 * len(CAMERAS) * BATCH * batches
        sources = [np.array(columns.columns[n][:BATCH]) for n in CAMERAS for _ in ("now", "next")]
        targets = [np.empty_like(s) for s in sources]

        def ours() -> float:
            return frames / seconds(lambda: [sampler.sample() for _ in range(batches)])

        def memcpy() -> float:
            return frames / seconds(lambda: [np.copyto(t, s) for _ in range(batches) for t, s in zip(targets, sources, strict=True)])

        ours()
        rate = turns({"sampler": ours, "memcpy": memcpy}, rounds)
        size = sum(s.nbytes for s in sources) / (2 * len(CAMERAS) * BATCH)
    return BenchResult(
        bench="sampler",
        ratio=rate["sampler"] / rate["memcpy"],
        target=0.5,
        reference="numpy copies of as many bytes between warm arrays, same run",
        measures={
            "frames": Measure(round(rate["sampler"]), "1/s"),
            "memcpy_frames": Measure(round(rate["memcpy"]), "1/s"),
            "bytes": Measure(round(rate["sampler"] * size / 1e9, 3), "GB/s"),
            "rows": Measure(len(view.splits["all"].train), ""),
        },
    )
