"""Batches from a view: uniform with replacement within each source, the ratios between sources exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from apprentice_learning.data.augmentation import random_shift
from apprentice_learning.data.batch import Batch
from apprentice_learning.data.columns import reduced_name
from apprentice_learning.data.shares import Shares
from apprentice_learning.data.view import View


class Sampler:
    """`sample()` -> Batch. Arrays of a batch are reused by the next one, so a batch is valid until then."""

    def __init__(
        self, view: View, inputs: tuple[str, ...], size: int, seed: int, needs_next: bool, shift: int = 0, reduction: int = 1
    ):
        if size < 1:
            raise ValueError(f"batch size {size}")
        self.view, self.inputs, self.size, self.needs_next, self.shift = view, inputs, size, needs_next, shift
        self.reduction = reduction
        self.generator = np.random.default_rng([seed, 2])
        self.shares = Shares([s.ratio for s in view.config.sources], size)
        self.rows = [view.splits[s.name].train for s in view.config.sources]
        self._buffers: dict[str, np.ndarray] = {}

    def sample_rows(self) -> np.ndarray:
        picks = [rows[self.generator.integers(0, len(rows), n)] for rows, n in zip(self.rows, self.shares.counts(), strict=True)]
        return np.concatenate(picks)

    def sample(self) -> Batch:
        return self.batch(self.sample_rows(), augment=True)

    def validation(self, limit: int) -> Iterator[Batch]:
        """Held-out rows, evenly spread, at most `limit`, in batches; nothing when no episode was held out. No augmentation."""
        rows = np.concatenate([s.validation for s in self.view.splits.values()])
        if len(rows) > limit:
            rows = rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]
        for start in range(0, len(rows), self.size):
            yield self.batch(rows[start : start + self.size], augment=False)

    def batch(self, rows: np.ndarray, augment: bool) -> Batch:
        """The transitions at `rows` (row -> row + 1)."""
        view = self.view
        observation = {n: self._gather(n, rows, f"now/{n}", augment) for n in self.inputs}
        after = {n: self._gather(n, rows + 1, f"next/{n}", augment) for n in self.inputs} if self.needs_next else {}
        action, reward, discount = (torch.from_numpy(a[rows]) for a in (view.action, view.reward, view.discount))
        return Batch(observation, action, reward, discount, after)

    def column(self, name: str) -> np.ndarray:
        """The input's column; of a camera the reduced frames, where the data hold them (else the network reduces them)."""
        columns = self.view.data.columns
        return columns.get(reduced_name(name, self.reduction), columns[name])

    def _gather(self, name: str, rows: np.ndarray, key: str, augment: bool) -> torch.Tensor:
        column = self.column(name)
        out = self._buffer(key, (len(rows), *column.shape[1:]), column.dtype)
        np.take(column, rows, axis=0, out=out, mode="clip")  # 'clip' because numpy copies `out` once more in mode 'raise'
        if self.shift and augment and column.ndim == 4:
            out = random_shift(out, self.shift, self.generator, self._buffer(f"shifted/{key}", out.shape, out.dtype))
        return torch.from_numpy(out)

    def _buffer(self, key: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[key] = np.empty(shape, dtype)
        return buffer

    @property
    def state(self) -> dict[str, Any]:
        """JSON-able; with it a resumed run draws the rows that the interrupted one would have drawn."""
        return {"generator": self.generator.bit_generator.state, "credit": self.shares.credit.tolist()}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]
        self.shares.credit = np.array(state["credit"])
