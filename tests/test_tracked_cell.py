"""The cell of assembly.launch.xml as processes: a residual that reads tracked block poses acts, and the bag holds what the cameras said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.paths import share_dir
from apprentice_learning.online.config import load_online_config
from apprentice_learning.online.journal import MemoryJournal
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.online.train import online_specs
from apprentice_store.bag_reader import digest_mismatches, read_episode
from apprentice_workflows.launch_files.parser import parse_launch
from apprentice_workflows.launch_files.plan import format_value

pytestmark = pytest.mark.timeout(150)
METADATA = {"goal": {"position": [0.6, 0.0, 0.13]}, "start": {"tool": [0.6, 0.0, 0.2]}}


def test_a_residual_acts_on_tracked_poses_over_the_nodes(processes, ros, tmp_path) -> None:
    plan = parse_launch(share_dir() / "launch" / "assembly.launch.xml", {"data": str(processes.data)})
    for node in plan.nodes:
        processes.start(node.executable, node.name, **{k: format_value(v) for k, v in node.parameters})
    cell = ros()
    names = {a.name for a in cell.spec.observation}
    assert {"tracked/object/left/pose", "tracked/object/right/deviation"} <= names

    trainer = OnlineTrainer(
        load_online_config("td3_assembly"), online_specs(cell.spec, {"position": 3}), cell.spec.action_space, MemoryJournal(), tmp_path,
        base_hash="",
    )
    cell.load_bundle(trainer.export())
    ref = cell.run(EpisodeRequest("assemble_blocks", "hand_controller+residual", ResetRequest("full", seed=3), steps=12, metadata=METADATA))
    assert ref.lost == 0 and ref.steps == 12, ref
    episode = read_episode(Path(ref.path))
    assert digest_mismatches(episode) == []
    assert not episode.actions["residual"].any() and episode.actions["base"].any()
    for name in ("left", "right"):
        seen, true = episode.observations[f"tracked/object/{name}/pose"], episode.privileged[f"object/{name}/pose"]
        assert (np.linalg.norm(seen[:, :3] - true[:, :3], axis=1) < 0.0015).all()
    # Nobody tracks any more: the streams fall silent, and no policy acts on what was last known.
    processes.stop("tracker_node")
    blind = cell.run(EpisodeRequest("assemble_blocks", "hand_controller+residual", ResetRequest("none"), steps=12, metadata=METADATA))
    assert blind.truncated and blind.steps < 12 and ("stale" in blind.reason or "tracked" in blind.reason), blind
