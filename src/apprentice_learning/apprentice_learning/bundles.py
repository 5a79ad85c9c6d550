"""Policies as bundles (contract 7): network description, normalisers and weights in one folder, nothing unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from apprentice_core.bundle import ArraySpecModel, BundleManifest, bundle_id, read_bundle, write_bundle
from apprentice_core.errors import BundleError, ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import DeterministicPolicy, FeedForwardPolicy, PolicyNetwork, RecurrentPolicy, TanhGaussianPolicy

Policy: TypeAlias = FeedForwardPolicy | RecurrentPolicy
RECURRENT_POLICY = "recurrent_policy/1"
FEED_FORWARD: dict[str, type[FeedForwardPolicy]] = {
    "gaussian_policy/1": PolicyNetwork, "deterministic_policy/1": DeterministicPolicy, "tanh_gaussian_policy/1": TanhGaussianPolicy,
}
"""names change whenever the same description would build another network"""
MAX_RESET_PERIOD = 1_000_000
Built = TypeVar("Built", bound=nn.Module)


def write_policy(
    folder: Path,
    network: Policy,
    *,
    name: str,
    algorithm: str,
    action_space: str = "",
    action_space_hash: str = "",
    control_period: float = 0.1,
    assumed_latency: float = 0.0,
    config: Mapping[str, Any] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> str:
    """Writes the folder (replacing an older one) and returns the bundle id."""
    reads = set(network.inputs)
    return write_bundle(
        folder,
        {k: v.detach().cpu().contiguous().numpy() for k, v in network.state_dict().items()},
        kind="policy",
        name=name,
        algorithm=algorithm,
        observation=tuple(ArraySpecModel(name=s.name, shape=s.shape, dtype=s.dtype, unit=s.unit) for s in network.specs if s.name in reads),
        action_space=action_space,
        action_space_hash=action_space_hash,
        control_period=control_period,
        assumed_latency=assumed_latency,
        network=_description(network),
        config=dict(config or {}),
        lineage=dict(lineage or {}),
    )


def _description(network: Policy) -> dict[str, Any]:
    shared = {"actions": network.actions, "config": network.config.model_dump(mode="json")}
    if isinstance(network, RecurrentPolicy):
        return {"type": RECURRENT_POLICY, **shared, "state_reset_period": network.state_reset_period}
    return {"type": next(name for name, kind in FEED_FORWARD.items() if type(network) is kind), **shared}


def _build(
    description: Mapping[str, Any], specs: tuple[ArraySpec, ...], actions: int, config: NetworkConfig, where: Path
) -> Policy:
    if (kind := FEED_FORWARD.get(description["type"])) is not None:
        return kind(specs, actions, config)
    period = description.get("state_reset_period")
    if not isinstance(period, int) or not 0 <= period <= MAX_RESET_PERIOD:
        raise BundleError(f"{where}: network.state_reset_period: {period!r} is not a number of steps")
    return RecurrentPolicy(specs, actions, config, period)


def build_network(
    folder: Path, manifest: BundleManifest, tensors: Mapping[str, np.ndarray], make: Callable[[tuple[ArraySpec, ...], NetworkConfig], Built]
) -> Built:
    """What `make` builds from the manifest's arrays and `network.config`, with the bundle's weights, in evaluation mode; BundleError names
    the file and the field that is wrong."""
    where = folder / "bundle.json"
    try:
        config = NetworkConfig.model_validate(manifest.network.get("config"))
        network = make(tuple(ArraySpec(a.name, a.shape, a.dtype, a.unit) for a in manifest.observation), config)
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(f"{where}: network.config.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ConfigError as error:
        raise BundleError(f"{where}: {error}") from error
    try:
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    except RuntimeError as error:
        raise BundleError(f"{folder}: weights do not fit the network: {' '.join(str(error).split())[:200]}") from error
    return network.eval()


def read_policy(folder: Path) -> tuple[BundleManifest, Policy, str]:
    """(manifest, network in evaluation mode, bundle id); BundleError names the file and the field that is wrong."""
    manifest, tensors = read_bundle(folder)
    where = folder / "bundle.json"
    if manifest.kind != "policy":
        raise BundleError(f"{where}: kind: is {manifest.kind!r}, not 'policy'")
    description = manifest.network
    known = (*FEED_FORWARD, RECURRENT_POLICY)
    if description.get("type") not in known:
        raise BundleError(f"{where}: network.type: {description.get('type')!r} is unknown; this release reads {', '.join(known)}")
    actions = description.get("actions")
    if not isinstance(actions, int) or not 0 < actions <= 128:
        raise BundleError(f"{where}: network.actions: {actions!r} is not a number of actions")
    network = build_network(folder, manifest, tensors, lambda specs, config: _build(description, specs, actions, config, where))
    return manifest, network, bundle_id(manifest)
