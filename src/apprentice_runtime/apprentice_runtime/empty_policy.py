"""What the policy node has before it has a bundle: it keeps still and says why."""

from __future__ import annotations

import numpy as np

from apprentice_core.cell import SourceAction
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation


class EmptyPolicy:
    """ActionSource that answers with zero motion, a fault, and the wish to end: an episode without a policy is of no use."""

    needs_privileged = False
    bundle_id = ""

    def __init__(self, name: str, space: ActionSpace):
        self.name, self.action_space = name, space

    def reset(self, context: EpisodeContext) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        return SourceAction(self.action_space.neutral(), fault="no bundle is loaded", request_end=True)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Nothing to learn from."""
