"""The next batch is made on a thread while the present one is learned from: what a GPU needs to be kept busy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from apprentice_learning.data.batch import Batch
from apprentice_learning.data.sampler import Sampler


class Prefetcher:
    """`next()` gives `send(sampler.sample())`, the same batches in the same order as without it.

    `send` has to copy, because the sampler uses a batch's arrays again. `state` is the sampler's before the batch that is under way: a
    resumed run draws that one next.
    """

    def __init__(self, sampler: Sampler, send: Callable[[Batch], Batch]):
        self.sampler, self.send = sampler, send
        self._pool = ThreadPoolExecutor(1, "batches")
        self._ahead: Future[Batch] | None = None
        self._state: dict[str, Any] = {}

    def next(self) -> Batch:
        batch = self._start().result()
        self._ahead = None
        self._start()
        return batch

    def _start(self) -> Future[Batch]:
        if self._ahead is None:
            self._state = self.sampler.state
            self._ahead = self._pool.submit(lambda: self.send(self.sampler.sample()))
        return self._ahead

    @property
    def state(self) -> dict[str, Any]:
        return self.sampler.state if self._ahead is None else self._state

    def close(self) -> None:
        """Waits for the batch under way and puts the sampler back to before it."""
        if self._ahead is not None:
            self._ahead.result()
            self.sampler.state, self._ahead = self._state, None
        self._pool.shutdown()
