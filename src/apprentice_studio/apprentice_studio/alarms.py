"""What an operator must see: safety events, bad diagnostics, silent streams, and the emergency stop. Pure: times are given."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["info", "warning", "error"]
ORDER = {"error": 0, "warning": 1, "info": 2}
HISTORY = 200
"""past alarms that are kept (ours)"""
TOGETHER = 5.0
"""s; an event that comes again within is counted, not listed again: a policy at the edge of its box is clamped at every tick (ours)"""
SILENT_NODE = 4.0
"""s without diagnostics after which a node that had spoken counts as silent; all speak once a second (ours)"""
LEVELS: dict[str, Level] = {"clamped": "info", "hold": "warning", "retreat": "error", "stop": "error"}


@dataclass
class Alarm:
    """`since` and `last`: s since the epoch; `count`: how often it came; `active` while its condition lasts (an event has none)."""

    key: str
    level: Level
    source: str
    message: str
    since: float
    last: float
    count: int = 1
    active: bool = True


class AlarmBoard:
    """Conditions are raised and cleared by key, events are noted; `listing` gives active ones first, the worst on top."""

    def __init__(self) -> None:
        self._active: dict[str, Alarm] = {}
        self._past: deque[Alarm] = deque(maxlen=HISTORY)
        self._diagnosed: dict[str, float] = {}
        self.revision = 0
        """grows with every change"""

    def raise_(self, key: str, level: Level, source: str, message: str, now: float) -> None:
        known = self._active.get(key)
        if known is None:
            self._active[key] = Alarm(key, level, source, message, now, now)
            self.revision += 1
            return
        known.last = now
        if (known.level, known.message) != (level, message):
            known.level, known.message = level, message
            self.revision += 1

    def clear(self, key: str, now: float) -> None:
        alarm = self._active.pop(key, None)
        if alarm is not None:
            alarm.active, alarm.last = False, now
            self._past.appendleft(alarm)
            self.revision += 1

    def condition(self, holds: bool, key: str, level: Level, source: str, message: str, now: float) -> None:
        if holds:
            self.raise_(key, level, source, message, now)
        else:
            self.clear(key, now)

    def event(self, event: dict[str, Any], now: float) -> None:
        """A safety/event: its code, stage, outcome and message."""
        key = f"event {event['code']} {event['stage']} {event['outcome']}"
        self.revision += 1
        for alarm in self._past:
            if alarm.key == key and now - alarm.last < TOGETHER:
                alarm.last, alarm.message = now, event["message"] or alarm.message
                alarm.count += 1
                return
        level: Level = "info" if event["stage"] == "mux" else LEVELS.get(event["outcome"], "warning")
        message = event["message"] or f"{event['code']}: {event['outcome']}"
        self._past.appendleft(Alarm(key, level, event["stage"], message, now, now, active=False))

    def diagnostic(self, name: str, level: int, message: str, now: float) -> None:
        """A DiagnosticStatus: level 0 OK, 1 WARN, 2 ERROR, 3 STALE."""
        self._diagnosed[name] = now
        self.condition(level > 0, f"diagnostic {name}", "warning" if level == 1 else "error", name, message, now)

    def silent_nodes(self, now: float) -> None:
        """Raises for each status that was told and is told no more."""
        for name, last in self._diagnosed.items():
            self.condition(now - last > SILENT_NODE, f"silent {name}", "warning", name, "says nothing any more", now)

    def forget_nodes(self, now: float) -> None:
        """The link to the cell is new: what was heard over the old one is no sign of anything."""
        for name in self._diagnosed:
            self.clear(f"silent {name}", now)
        self._diagnosed.clear()

    def streams(self, stale: Iterable[str], known: Iterable[str], now: float) -> None:
        """Which of the known streams should speak and do not."""
        silent = set(stale)
        for name in known:
            self.condition(name in silent, f"stream {name}", "error", name, "the stream is silent", now)

    def listing(self) -> list[dict[str, Any]]:
        active = sorted(self._active.values(), key=lambda a: (ORDER[a.level], -a.since))
        return [asdict(a) for a in (*active, *sorted(self._past, key=lambda a: -a.last))]
