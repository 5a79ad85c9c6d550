"""Between a fast writer and a slow reader: the newest of what replaces itself, a bounded queue of what does not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any


class Mailbox:
    """Any thread puts, one takes. Nothing here ever waits: who is slow misses what was replaced, and delays nobody.

    `put` keeps one item a key, the newest; `push` keeps the newest `depth` in order and counts in `dropped` what fell out.
    `wake` is called after each of them, in the putting thread.
    """

    def __init__(self, depth: int = 1000, wake: Callable[[], None] | None = None):
        self._newest: dict[Hashable, Any] = {}
        self._queue: deque[Any] = deque(maxlen=depth)
        self._lock = threading.Lock()
        self._wake = wake
        self.dropped = 0

    def put(self, key: Hashable, item: Any) -> None:
        with self._lock:
            self._newest[key] = item
        if self._wake:
            self._wake()

    def push(self, item: Any) -> None:
        with self._lock:
            self.dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(item)
        if self._wake:
            self._wake()

    def take(self) -> list[Any]:
        """All that waits, each once: the newest of each key, then the queue in order."""
        with self._lock:
            found = [*self._newest.values(), *self._queue]
            self._newest.clear()
            self._queue.clear()
        return found

    def __len__(self) -> int:
        with self._lock:
            return len(self._newest) + len(self._queue)
