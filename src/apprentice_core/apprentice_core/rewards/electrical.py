"""Eq. 47: the connector itself says whether it is in."""

from __future__ import annotations

import numpy as np

from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.streams import CONNECTED


class ElectricalReward:
    """Gives `sparse`: exactly 1 in a connected state, else 0. Never terminal: a live connection may drop again (spec 001c section 3.3)."""

    name = "electrical"
    model_id = "electrical/1"
    needs_privileged = False
    inputs = (CONNECTED,)

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """KeyError where the cell has no connection signal; a signal that is neither 0 nor 1 is not valid."""
        signal = np.asarray(batch.next_observation[CONNECTED], dtype=np.float32).reshape(len(batch.step), -1)[:, 0]
        valid = (signal == 0) | (signal == 1)
        on = signal == 1
        n = len(on)
        return {"sparse": RewardResult(on.astype(np.float32), np.full(n, np.nan), valid, np.zeros(n, dtype=bool), on)}
