"""The policy node with a recurrent bundle among real nodes: memory within an episode, a zero state at the start of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.errors import ApprenticeError
from apprentice_core.spaces import ArraySpec, observation_digest
from apprentice_learning.bundles import write_policy
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import RecurrentPolicy
from apprentice_store.bag_reader import read_episode

pytestmark = pytest.mark.timeout(120)
INPUTS = ("tool/pose", "joints/position")
STEPS = 12


def write(folder: Path, spec, *extra: ArraySpec) -> RecurrentPolicy:
    specs = (*(a for a in spec.observation if a.name in INPUTS), *extra)
    torch.manual_seed(0)
    policy = RecurrentPolicy(specs, spec.action_space.size, NetworkConfig(proprio=tuple(s.name for s in specs), hidden=(32, 32))).eval()
    torch.nn.init.normal_(policy.head.weight, std=0.3)
    write_policy(
        folder, policy, name="recurrent", algorithm="d4pg", action_space=spec.action_space.name, action_space_hash=spec.action_space.hash
    )
    return policy


def test_the_node_remembers_within_an_episode_and_begins_each_at_zero(processes, ros) -> None:
    processes.start_cell(cameras=("wrist_left",), scripts=())
    cell = ros()
    policy = write(processes.folder / "bundle", cell.spec)
    processes.start("policy_node", bundle=processes.folder / "bundle")
    for _ in range(2):
        ref = cell.run(EpisodeRequest("lift_demo", "policy", ResetRequest("none", seed=1), steps=STEPS))
        episode = read_episode(Path(ref.path))
        assert ref.lost == 0 and len(episode) == STEPS
        # Of pictures too: what the node acted on is what the bag holds, to the bit.
        assert "camera/wrist_left" in episode.observations
        assert episode.digests == [observation_digest(episode.observation_at(t)) for t in range(STEPS)]
        with torch.no_grad():
            expected = policy({n: torch.from_numpy(episode.observations[n][:STEPS].copy())[:, None] for n in policy.inputs})[:, 0]
        np.testing.assert_allclose(episode.actions["source"], expected, atol=1e-5)
    write(processes.folder / "tracked", cell.spec, ArraySpec("tracked/object/green/pose", (7,)))
    with pytest.raises(ApprenticeError, match="no tracker"):
        cell.load_bundle(processes.folder / "tracked")
