"""When is the observation of a tick there? Complete and exact in lockstep, newest with ages in realtime."""

from __future__ import annotations

from collections.abc import Sequence

from apprentice_core.assembler import ObservationAssembler, Part
from apprentice_core.cell import StreamSpec

Found = tuple[int, tuple[Part, ...], tuple[bool, ...]]


class ObservationGate:
    """Over the messages that an assembler holds. Stamps are node time in nanoseconds."""

    def __init__(self, assembler: ObservationAssembler, streams: Sequence[StreamSpec]):
        self.assembler = assembler
        self.streams = {s.name: s for s in streams}
        self._floor = 0
        self._since: tuple[int | None, float] | None = None

    @property
    def last_stamp(self) -> int:
        """The newest stamp of any stream; 0 where there is none."""
        return max((p.stamp for p in self.assembler.newest().values() if p), default=0)

    def require_newer(self) -> None:
        """The next first observation must be newer than all that is here now (the scene is about to change)."""
        self._floor = self.last_stamp + 1

    def complete(self, awaited: int | None) -> Found | None:
        """Lockstep: the observation at `awaited`, or the first one (None: all streams at the newest stamp); None while it is incomplete."""
        wanted = awaited if awaited is not None else max(self.last_stamp, self._floor)
        if wanted == 0 or self.assembler.behind(wanted):
            return None
        self._since = None
        parts = tuple(p for p in self.assembler.newest(wanted).values() if p)
        return max(p.stamp for p in parts), parts, (False,) * len(parts)

    def lacking(self) -> tuple[str, ...]:
        """Streams that have not shown the newest stamp of all."""
        return tuple(self.assembler.behind(max(self.last_stamp, self._floor)))

    def only_polled_lack(self, awaited: int | None) -> bool:
        """Every camera is there and something else is not."""
        return not any(n.startswith("camera/") for n in self.assembler.behind(awaited if awaited is not None else self.last_stamp))

    def overdue(self, awaited: int | None, now: float, limit: float) -> Found | None:
        """The same with the late streams declared missing, once it has been asked for during `limit` steady seconds."""
        if self._since is None or self._since[0] != awaited:
            self._since = (awaited, now)
        if now - self._since[1] < limit or awaited is None:
            return None
        self._since = None
        late = set(self.assembler.behind(awaited))
        parts = self._parts(awaited)
        return awaited, parts, tuple(p.stream in late for p in parts)

    def newest(self, stamp: int) -> tuple[tuple[Part, ...], tuple[bool, ...]]:
        """Realtime: the newest of each stream at node time `stamp`, past only, and which are too old or absent."""
        parts = self._parts(stamp)
        stale = set(self.stale(stamp))
        return parts, tuple(p.stream in stale for p in parts)

    def stale(self, stamp: int, margin: float = 0.0) -> tuple[str, ...]:
        """Streams whose newest message is older than their age limit less `margin` seconds at node time `stamp`."""
        newest = self.assembler.newest()
        return tuple(
            n for n, s in self.streams.items() if newest[n] is None or stamp - newest[n].stamp > (s.max_age - margin) * 1e9  # type: ignore[union-attr]
        )

    def _parts(self, not_after: int | None) -> tuple[Part, ...]:
        newest = self.assembler.newest(not_after)
        return tuple(newest[n] or Part(n, s.topic, 0) for n, s in self.streams.items())
