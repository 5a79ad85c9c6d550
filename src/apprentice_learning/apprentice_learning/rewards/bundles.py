"""Reward models as bundles (contract 7): the members of an ensemble side by side in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from apprentice_core.bundle import ArraySpecModel, BundleManifest, bundle_id, read_bundle, write_bundle
from apprentice_core.errors import BundleError
from apprentice_learning.bundles import build_network
from apprentice_learning.rewards.reward_network import RewardNetwork

REWARD_NETWORK = "sketch_reward/1"
"""changes whenever the same description would build another network"""
MAX_MEMBERS = 16


def write_reward(
    folder: Path, members: Sequence[RewardNetwork], *, name: str, task: str, config: Mapping[str, Any], lineage: Mapping[str, Any],
    control_period: float = 0.1,
) -> str:
    """Writes the folder (replacing an older one) and returns the bundle id."""
    first = members[0]
    return write_bundle(
        folder,
        {f"{i}.{k}": v.detach().cpu().contiguous().numpy() for i, m in enumerate(members) for k, v in m.state_dict().items()},
        kind="reward",
        name=name,
        algorithm="sketch",
        observation=tuple(ArraySpecModel(name=s.name, shape=s.shape, dtype=s.dtype, unit=s.unit) for s in first.specs),
        control_period=control_period,
        network={"type": REWARD_NETWORK, "task": task, "members": len(members), "config": first.config.model_dump(mode="json")},
        config=dict(config),
        lineage=dict(lineage),
    )


def read_reward(folder: Path) -> tuple[BundleManifest, nn.ModuleList, str]:
    """(manifest, the members in evaluation mode, bundle id); BundleError names the file and the field that is wrong."""
    manifest, tensors = read_bundle(folder)
    where, description = folder / "bundle.json", manifest.network
    if manifest.kind != "reward":
        raise BundleError(f"{where}: kind: is {manifest.kind!r}, not 'reward'")
    if description.get("type") != REWARD_NETWORK:
        raise BundleError(f"{where}: network.type: {description.get('type')!r} is unknown; this release reads {REWARD_NETWORK!r}")
    count, task = description.get("members"), description.get("task")
    if not isinstance(count, int) or not 0 < count <= MAX_MEMBERS:
        raise BundleError(f"{where}: network.members: {count!r} is not a number of members")
    if not isinstance(task, str) or not task:
        raise BundleError(f"{where}: network.task: {task!r} is not a task")
    members = build_network(
        folder, manifest, tensors, lambda specs, config: nn.ModuleList(RewardNetwork(specs, config) for _ in range(count))
    )
    return manifest, members, bundle_id(manifest)
