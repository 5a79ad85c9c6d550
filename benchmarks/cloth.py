"""How much faster than real time the cell runs with a cloth hanging from its fingers, on one core, three cameras drawn; beside it the same
cell with blocks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import BenchResult, Measure, turns

CAMERAS = ("basket_front_left", "wrist_left", "basket_back_left")


def _processor(work: Callable[[], object]) -> float:
    """Seconds of processor time: others on the machine do not count."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def run(quick: bool = False) -> BenchResult:
    from apprentice_core.cell import EpisodeRequest, ResetRequest
    from apprentice_sim.sim_cell import SimCell

    cloth = SimCell("sawyer_cloth", "lift_cloth", seed=0, cameras=CAMERAS)
    blocks = SimCell("sawyer_lift", "lift", seed=0, cameras=CAMERAS)
    hold = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)
    steps, rounds = (5, 3) if quick else (15, 7)
    try:
        if not cloth.run(EpisodeRequest("lift_cloth", "expert", ResetRequest(seed=2), steps=38)).success:
            raise RuntimeError("the expert has not lifted the cloth, so there is nothing to measure")

        def simulated(cell: SimCell) -> float:
            return steps * cell.spec.timing.control_period / _processor(lambda: [cell.step(hold) for _ in range(steps)])

        def image() -> float:
            return _processor(lambda: [cloth.observer.renderer.render("wrist_left") for _ in range(10)]) / 10

        def image_without() -> float:
            kept, cloth.world.cloth = cloth.world.cloth, None
            try:
                return image()
            finally:
                cloth.world.cloth = kept

        rate = turns({"cloth": lambda: simulated(cloth), "blocks": lambda: simulated(blocks)}, rounds)
        drawn = turns({"cloth": image, "nothing": image_without}, rounds)
        placing = _processor(lambda: cloth.world.reset_scene(seed=3))
    finally:
        cloth.close()
        blocks.close()
    return BenchResult(
        bench="cloth",
        ratio=rate["cloth"],
        target=1.0,
        reference="real time: simulated seconds a second of processor time, one core, three cameras at 10 Hz",
        measures={
            "with_cloth": Measure(round(rate["cloth"], 2), "s/s"),
            "with_blocks": Measure(round(rate["blocks"], 2), "s/s"),
            "drawing_the_cloth": Measure(round(1e3 * (drawn["cloth"] - drawn["nothing"]), 2), "ms/image"),
            "placing_the_cloth": Measure(round(placing, 2), "s/reset"),
        },
    )
