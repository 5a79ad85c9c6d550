"""A trained policy as the base controller of a residual (spec 001c A20: the policy of a simulation as pi_H)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import BundleError
from apprentice_core.spaces import ActionSpace, Observation
from apprentice_learning.runner import PolicyRunner


class PolicyBase:
    """Contract Controller (core cell.py): the bundle's deterministic action, without dice and without memory."""

    def __init__(self, bundle: Path | str, action_space: ActionSpace | None = None):
        """BundleError when the bundle does not fit, or is recurrent: a base is a function of the observation alone."""
        self._runner = PolicyRunner(bundle, action_space, name="base")
        if self._runner.network.initial_state(1):
            raise BundleError(f"{bundle}: network.type: a recurrent policy has a memory and cannot be a base controller")
        self._runner.reset(EpisodeContext("base", "", seed=0))
        self.version_hash = f"policy/{self._runner.bundle_id}"

    def action(self, observation: Observation, segment: Segment) -> np.ndarray:
        """Observation -> float32 [A] in [-1, 1]; ValueError when the network's answer is not finite, so that the cell holds."""
        answer = self._runner.act(observation, segment)
        if answer.fault:
            raise ValueError(f"base policy {self._runner.bundle_id}: {answer.fault}")
        return answer.values
