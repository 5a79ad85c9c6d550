"""An episode of lift_cloth in the store: its tracked points come back by name, and the annotator sees progress in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.tasks import make_task
from apprentice_store.store import Store
from apprentice_workflows.cells import CellChoice, open_cell
from apprentice_workflows.wheel.annotator import progress


def test_tracked_points_are_recorded(tmp_path: Path) -> None:
    with open_cell(CellChoice(True, "lift_cloth", "sawyer_cloth", data=tmp_path, cameras="none")) as cell:
        ref = cell.run(EpisodeRequest("lift_cloth", "expert", ResetRequest(seed=3), steps=8))
        task = make_task(cell.task_config)
    store = Store(tmp_path)
    episode = store.read(ref.episode_id)
    store.close()
    names = {k.removeprefix("object/").removesuffix("/pose") for k in episode.privileged if k.endswith("/pose")}
    assert names == {"cloth", "cloth/top", *(f"cloth/corner_{i}" for i in range(4))}
    assert episode.privileged["object/cloth/top/pose"].shape == (9, 7)
    assert (episode.privileged["object/cloth/top/pose"][:, 2] >= episode.privileged["object/cloth/pose"][:, 2]).all()
    curve, success = progress(task, episode)
    assert not success.any() and np.diff(curve).min() > 0, "the tool comes nearer in every step"
