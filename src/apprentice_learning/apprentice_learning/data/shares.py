"""How many rows of each source a batch takes, so that ratios are exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Shares:
    """Where batch size x ratio is no whole number, the remainder is carried over: after n batches each source has given its share of
    n x size rows to within one row."""

    def __init__(self, ratios: Sequence[float], size: int):
        self.ratios, self.size = np.array(ratios, dtype=np.float64), size
        self.credit = np.zeros(len(self.ratios))

    def counts(self) -> np.ndarray:
        """Rows that each source gives to the next batch; their sum is the batch size."""
        due = self.credit + self.ratios * self.size
        counts = np.floor(due + 1e-9).astype(np.int64)
        short = self.size - int(counts.sum())
        for i in np.argsort(-(due - counts), kind="stable")[:short]:
            counts[i] += 1
        self.credit = due - counts
        return counts
