"""Nanoseconds, which the suite counts in, as message times."""

from __future__ import annotations

from builtin_interfaces.msg import Time

BILLION = 1_000_000_000


def to_time(ns: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time."""
    return Time(sec=int(ns // BILLION), nanosec=int(ns % BILLION))
