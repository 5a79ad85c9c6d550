"""Frames per second of relabelling (bag to predicted rewards in the catalogue), against the bare forward pass on the same frames.

The headline is the `full` network, which a robot's store is labelled with. The `small` one is shown beside: its pass takes a fortieth
of the time, so on a CPU decoding the bag is what costs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import BenchResult, Measure, say, seconds, turns
from benchmarks.sampler import record

TASK = "lift_demo"


def model(folder: Path, specs: tuple, preset: str) -> Path:
    """A bundle with fresh weights: speed does not depend on what it has learned."""
    from apprentice_learning.rewards.bundles import write_reward
    from apprentice_learning.rewards.config import load_reward_config
    from apprentice_learning.rewards.reward_network import RewardNetwork

    config = load_reward_config("sketch", task=TASK, preset=preset)
    write_reward(folder / preset, [RewardNetwork(specs, config.network())], name=preset, task=TASK, config={}, lineage={})
    return folder / preset


def run(quick: bool = False) -> BenchResult:
    from apprentice_learning.rewards.relabel import relabel
    from apprentice_learning.rewards.sketch_reward import SketchReward
    from apprentice_store.bag_reader import EpisodeReader
    from apprentice_store.store import Store

    episodes, rounds = (1, 1) if quick else (4, 5)
    measures: dict[str, Measure] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "bags"
        say(f"recording {episodes} episodes of the lift cell into bags")
        record(data, episodes)
        with Store(data) as store:
            readers = [EpisodeReader(store.path(r.episode_id)) for r in store.episodes("kind = 'episode'")]
        for preset in ("full", "small"):
            bundle = model(Path(scratch), readers[0].spec.observation, preset)
            source = SketchReward(bundle)
            frames = [r.episode(source.inputs).observations for r in readers]
            count = sum(len(next(iter(f.values()))) for f in frames)

            def bare(source: SketchReward = source, frames: list = frames, count: int = count) -> float:
                network, names, chunk = source.members[0], source.inputs, source.chunk
                tensors = [{n: torch.from_numpy(np.ascontiguousarray(f[n])) for n in names} for f in frames]

                def forward() -> None:
                    with torch.inference_mode():
                        for t in tensors:
                            for start in range(0, len(t[names[0]]), chunk):
                                network({n: x[start : start + chunk] for n, x in t.items()})

                return count / seconds(forward)

            def ours(bundle: Path = bundle, count: int = count) -> float:
                shutil.rmtree(data / "predicted", ignore_errors=True)  # all is to be scored again
                result = relabel(data, TASK, bundle)
                assert result.frames == count and not result.skipped
                return result.frames_per_s

            bare()
            rate = turns({"relabel": ours, "bare": bare}, rounds)
            ratios[preset] = rate["relabel"] / rate["bare"]
            measures |= {
                f"{preset}_frames": Measure(round(rate["relabel"], 1), "1/s"),
                f"{preset}_bare_frames": Measure(round(rate["bare"], 1), "1/s"),
            }
    measures["small_ratio"] = Measure(round(ratios["small"], 3), "")
    measures["frames"] = Measure(count, "")
    return BenchResult(
        bench="relabel", ratio=ratios["full"], target=0.7, measures=measures,
        reference="forward passes of the full reward network on the same decoded frames, one thread, same batches, same run",
    )
