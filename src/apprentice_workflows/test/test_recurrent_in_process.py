"""From bags to an acting recurrent policy on tracked poses, all in this process: the path of the low-dimensional claim runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.errors import BundleError
from apprentice_learning.config import TrainConfig, load_train_config
from apprentice_learning.runner import PolicyRunner
from apprentice_learning.train import train
from apprentice_store.bag_reader import read_episode
from apprentice_workflows.cells import CellChoice, open_cell

GREEN = "object/green/pose"


def test_low_dimensional_agent_from_bags_to_an_episode(tmp_path, monkeypatch):
    monkeypatch.delenv("APPRENTICE_STORE", raising=False)
    choice = CellChoice(True, "lift", cameras="none", data=tmp_path / "bags")
    with open_cell(choice) as cell:
        for i in range(2):
            cell.run(EpisodeRequest("lift", "random_watcher", ResetRequest("full", seed=i), steps=12))
    fields = load_train_config("d4pg_lowdim").model_dump() | {"steps": 3, "batch": 4, "checkpoint_every": 3}
    fields["view"]["validation"] = 0.0
    result = train(TrainConfig.model_validate(fields), tmp_path / "bags", tmp_path / "run")
    assert result.bundle is not None
    with open_cell(choice, result.bundle) as cell:
        ref = cell.run(EpisodeRequest("lift", "policy", ResetRequest("full", seed=5), steps=6))
        twin = PolicyRunner(result.bundle, cell.spec.action_space, allow_tracked=True)
    episode = read_episode(Path(ref.path))
    state = twin.network.initial_state(1)
    for t in range(6):
        inputs = {n: episode.observations[n][t] for n in twin.network.inputs if not n.startswith("tracked/")}
        inputs[f"tracked/{GREEN}"] = episode.privileged[GREEN][t]
        with torch.no_grad():
            action, state = twin.network.step({n: torch.from_numpy(np.array(v))[None] for n, v in inputs.items()}, state)
        np.testing.assert_allclose(episode.actions["source"][t], action[0], atol=1e-5)
    with pytest.raises(BundleError, match="no tracker"):
        PolicyRunner(result.bundle, cell.spec.action_space).check(cell.spec.observation)
