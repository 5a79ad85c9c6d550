"""Vector inputs of a network by name: a whole array ('tool/twist') or some of its numbers ('tool/pose[0:3]', spec 001c B10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec

_SLICE = re.compile(r"(?P<array>[^\[\]]+)(?:\[(?P<start>\d{1,6}):(?P<stop>\d{1,6})\])?")
GOAL = "goal/"
"""prefix of the arrays that a segment's goal gives: `goal/position` is `segment.goal["position"]`"""
A = TypeVar("A", np.ndarray, Tensor)


@dataclass(frozen=True)
class VectorInput:
    """Numbers start ... stop - 1 of an array's last axis; all of it where `stop` is None."""

    array: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> VectorInput:
        """'name' or 'name[start:stop]'; ValueError for anything else."""
        found = _SLICE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is neither an array's name nor '<array>[<start>:<stop>]'")
        if found["start"] is None:
            return cls(text)
        start, stop = int(found["start"]), int(found["stop"])
        if start >= stop:
            raise ValueError(f"{text!r} takes no number: {start} is not below {stop}")
        return cls(found["array"], start, stop)

    def size(self, known: Mapping[str, ArraySpec], field: str) -> int:
        """How many numbers it takes; ConfigError naming `field` where the array is absent, no vector, or too short."""
        spec = known.get(self.array)
        if spec is None:
            raise ConfigError("network", field, f"no array named {self.array!r}")
        if len(spec.shape) != 1:
            raise ConfigError("network", f"{field}.{self.array}", f"needs a vector, got shape {spec.shape}")
        if self.stop is not None and self.stop > spec.shape[0]:
            taken = f"[{self.start}:{self.stop}]"
            raise ConfigError("network", f"{field}.{self.array}{taken}", f"is out of range: the array has {spec.shape[0]} numbers")
        return (spec.shape[0] if self.stop is None else self.stop) - self.start

    def of(self, arrays: Mapping[str, A]) -> A:
        """The numbers, [..., size]."""
        array = arrays[self.array]
        return array if self.stop is None else array[..., self.start : self.stop]
