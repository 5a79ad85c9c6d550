"""Sequences of successive steps for recurrent learners (spec 000 sections 2.10 and 8)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from apprentice_learning.data.augmentation import random_shift
from apprentice_learning.data.batch import SequenceBatch
from apprentice_learning.data.sampler import Sampler
from apprentice_learning.data.view import View


class SequenceSampler(Sampler):
    """As Sampler, but each drawn row starts a sequence of `length` observations; `size` counts sequences.

    Starts are uniform over the steps of a source, so a sequence may reach past its episode's end: there the last observation
    is repeated and `valid` is false. Frames of a sequence are shifted alike.
    """

    def __init__(
        self, view: View, inputs: tuple[str, ...], size: int, seed: int, length: int, shift: int = 0, reduction: int = 1,
    ):
        if length < 2:
            raise ValueError(f"sequences of {length} observations")
        super().__init__(view, inputs, size, seed, needs_next=False, shift=shift, reduction=reduction)
        self.length = length
        starts = view.data.episode_starts
        self._last_row = np.repeat(starts[1:] - 1, np.diff(starts))
        self._known = np.isfinite(view.reward)

    def validation(self, limit: int) -> Iterator[SequenceBatch]:
        """Held-out sequences, evenly spread, that hold at most about `limit` rows together."""
        rows = np.concatenate([s.validation for s in self.view.splits.values()])
        count = min(len(rows), max(1, limit // self.length)) if limit else 0
        rows = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)] if count else rows[:0]
        for start in range(0, len(rows), self.size):
            yield self.batch(rows[start : start + self.size], augment=False)

    def batch(self, rows: np.ndarray, augment: bool) -> SequenceBatch:
        """The sequences that start at `rows`."""
        view, last = self.view, self._last_row[rows]
        index = np.minimum(rows + np.arange(self.length)[:, None], last)
        observation = {n: self._window(n, index, augment) for n in self.inputs}
        steps = index[:-1]
        valid = (rows + np.arange(self.length - 1)[:, None] < last) & self._known[steps]
        reward = np.where(valid, view.reward[steps], np.float32(0))
        action, discount = view.action[steps], view.discount[steps]
        tensors = (torch.from_numpy(a) for a in (action, reward, discount))
        return SequenceBatch(observation, *tensors, valid=torch.from_numpy(valid))

    def _window(self, name: str, index: np.ndarray, augment: bool) -> torch.Tensor:
        column = self.column(name)
        out = self._buffer(name, (*index.shape, *column.shape[1:]), column.dtype)
        np.take(column, index, axis=0, out=out, mode="clip")
        if self.shift and augment and column.ndim == 4:
            shifted = self._buffer(f"shifted/{name}", out.shape, out.dtype)
            for k in range(index.shape[1]):  # channels of one picture: all frames of the sequence
                t, h, w, c = out[:, k].shape
                picture = out[:, k].transpose(1, 2, 0, 3).reshape(1, h, w, t * c)
                moved = random_shift(picture, self.shift, self.generator, np.empty_like(picture))
                shifted[:, k] = moved.reshape(h, w, t, c).transpose(2, 0, 1, 3)
            out = shifted
        return torch.from_numpy(out)
