"""Work in slices: a generator that yields where it may pause, for a loop that has little time in a cycle."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]


def finish(slices: Slices[T]) -> T:
    """All that is left at once."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: T = done.value
            return result
