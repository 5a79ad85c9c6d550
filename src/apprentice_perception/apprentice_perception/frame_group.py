"""Pictures of several cameras that belong to one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Moment(Generic[Frame]):
    """`stamp`: of the newest of them, ns."""

    stamp: int
    frames: dict[str, Frame]


class FrameGroup(Generic[Frame]):
    """`slack`: stamps that differ by less are one moment, ns (0: equal ones alone); a camera that is `patience` ns behind the newest is
    left out until it comes again, 0: never."""

    def __init__(self, cameras: Sequence[str], slack: int, patience: int):
        self.cameras, self.slack, self.patience = tuple(cameras), slack, patience
        self._newest: dict[str, tuple[int, Frame]] = {}
        self._done = 0

    def add(self, camera: str, stamp: int, frame: Frame) -> Moment[Frame] | None:
        """The moment that this picture completes, once each; a picture older than its camera's last is dropped."""
        if camera in self._newest and stamp <= self._newest[camera][0]:
            return None
        self._newest[camera] = (stamp, frame)
        newest = max(s for s, _ in self._newest.values())
        waiting = [c for c in self.cameras if c not in self._newest or newest - self._newest[c][0] > self.slack]
        if any(not self._silent(c, newest) for c in waiting) or newest <= self._done:
            return None
        self._done = newest
        return Moment(newest, {c: f for c, (_, f) in self._newest.items() if c not in waiting})

    def _silent(self, camera: str, newest: int) -> bool:
        last = self._newest.get(camera)
        return bool(self.patience) and last is not None and newest - last[0] > self.patience
