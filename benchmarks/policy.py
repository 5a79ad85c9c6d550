"""From a tick to the published action in the policy node, with the demo's bundle, against the bare network call on the same observation.

The bare calls come at the pace of the ticks: a call that follows another at once finds its weights in the cache and takes half the time
or less, which no policy in a cell ever sees. That figure (`network_hot_median`) is reported beside.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import BenchResult, Measure, percentile, say, seconds

TASK, NAMESPACE = "lift_demo", "bench"
PAUSE = 0.03
"""s between bare calls; a lockstep step takes so long"""
FACTOR, SLACK, P99_LIMIT = 1.3, 0.5e-3, 20e-3


def _bundle(scratch: Path) -> tuple[Path, str]:
    """The demo's bundle where the demo has run here; else one of the same network, untrained: as fast."""
    import torch

    from apprentice_core.cell_factory import choose_cameras, make_cell_spec
    from apprentice_core.config import load_cell, load_robot, load_task
    from apprentice_core.paths import data_dir
    from apprentice_learning.bundles import write_policy
    from apprentice_learning.config import load_train_config
    from apprentice_learning.networks.policies import PolicyNetwork

    demo = data_dir() / "demo" / "policies" / "bc" / "bundle"
    if (demo / "bundle.json").is_file():
        return demo, "the demo's"
    cell, task = load_cell("sawyer_lift"), load_task(TASK)
    spec = make_cell_spec(load_robot(cell.robot), cell, task, choose_cameras(cell, task, "agent"), [], [])
    torch.manual_seed(0)
    network = PolicyNetwork(spec.observation, spec.action_space.size, load_train_config("bc_demo").network)
    write_policy(
        scratch / "bundle",
        network,
        name="untrained",
        algorithm="bc",
        action_space=spec.action_space.name,
        action_space_hash=spec.action_space.hash,
    )
    return scratch / "bundle", "untrained, of the demo's network"


def _node(bundle: Path, folder: Path, episodes: int) -> tuple[list[float], list[dict[str, np.ndarray]]]:
    """Seconds from tick to published action, and the observations that were answered."""
    from apprentice_core.cell import EpisodeRequest, ResetRequest
    from apprentice_runtime.ros_cell import RosCell
    from apprentice_store.store import Store
    from apprentice_workflows.demo.cell_process import CellProcess

    arguments = {"task": TASK, "namespace": NAMESPACE, "data": str(folder), "bundle": str(bundle.resolve())}
    with CellProcess(arguments, folder / "cell.log"):
        cell = RosCell(NAMESPACE, TASK)
        try:
            refs = [cell.run(EpisodeRequest(TASK, "policy", ResetRequest("full", seed=i))) for i in range(episodes)]
        finally:
            cell.close()
    latencies: list[float] = []
    observations: list[dict[str, np.ndarray]] = []
    with Store(folder) as store:
        for ref in refs:
            episode = store.read(ref.episode_id)
            # The answer leaves the node with its inference_end stamp; what follows is DDS, which `lockstep` measures.
            latencies += (1e-9 * (episode.stamps["inference_end"] - episode.stamps["received"])).tolist()
            observations += [episode.observation_at(t) for t in range(len(episode))]
    return latencies, observations


def run(quick: bool = False) -> BenchResult:
    import torch

    from apprentice_learning.bundles import read_policy

    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path, kind = _bundle(folder)
        say(f"bundle: {kind}")
        latencies, observations = _node(path, folder / "bags", 2 if quick else 8)
        _, network, _ = read_policy(path)
    inputs = [{n: torch.from_numpy(o[n].copy())[None] for n in network.inputs} for o in observations]
    with torch.inference_mode():
        network(inputs[0])
        hot = [seconds(lambda x=x: network(x)) for x in inputs]
        bare = []
        for x in inputs:
            time.sleep(PAUSE)
            bare.append(seconds(lambda x=x: network(x)))
    median, reference, p99 = percentile(latencies, 50), percentile(bare, 50), percentile(latencies, 99)
    allowed = max(FACTOR * reference, reference + SLACK)
    failures = () if p99 < P99_LIMIT else (f"p99 {1e3 * p99:.2f} ms, to stay under {1e3 * P99_LIMIT:g} ms",)
    return BenchResult(
        bench="policy",
        ratio=min(1.0, allowed / median),
        target=1.0,
        reference="1.3 times the bare network call at the pace of the ticks, or 0.5 ms more, whichever is larger; 1.0 when within "
                  f"(bundle: {kind})",
        measures={
            "node_median": Measure(round(1e3 * median, 3), "ms"),
            "node_p99": Measure(round(1e3 * p99, 3), "ms"),
            "network_median": Measure(round(1e3 * reference, 3), "ms"),
            "network_hot_median": Measure(round(1e3 * percentile(hot, 50), 3), "ms"),
            "allowed_median": Measure(round(1e3 * allowed, 3), "ms"),
            "ticks": Measure(len(latencies), ""),
        },
        failures=failures,
    )
