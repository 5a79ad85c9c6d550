"""Ends what a launch runner leaves behind, however it died.

Runs as a script with the standard library only. Each child writes `+<process group>` into our standard input before it becomes a node;
the runner writes `-<process group>` once it has reaped one. End of file means that the runner is gone: whatever is left is ended by
SIGINT, then SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PATIENCE = ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))


def alive(group: int) -> bool:
    """Whether any process of the group exists."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_groups(groups: set[int]) -> None:
    """Returns when every group is gone, or after the last signal's patience."""
    for number, patience in PATIENCE:
        for group in list(groups):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                groups.discard(group)
        until = time.monotonic() + patience
        while groups and time.monotonic() < until:
            groups -= {g for g in groups if not alive(g)}
            time.sleep(0.02)
        if not groups:
            return


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    end_groups(groups)


if __name__ == "__main__":
    main()
