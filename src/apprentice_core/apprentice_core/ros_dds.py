"""What this suite asks of Fast DDS before a participant is made.

A node that ends removes its files in shared memory. One that is killed (kill -9, out of memory, a container stopped hard) leaves its
receiving ports (`fastrtps_port<N>`) and its segments of about 0.5 MB each, until the machine is started anew: some 4 MB a cell, of the
64 MB that a container has by default. Whoever lives holds a lock (flock) on `<name>_el` or `<name>_sl`, so the dead are known by theirs
being free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
LOCKS = ("_el", "_sl")
YOUNG = 1.0
"""files newer than this may belong to a process that is between making and locking them, s (ours)"""
PROFILE = Path(__file__).with_name("fastdds.xml")
CHOSEN = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""a user's own profile goes before ours; the second name is the older one, which both Jazzy and Kilted read"""


def prepare_dds() -> None:
    """Once in a process, before `rclpy.init`."""
    if not any(os.environ.get(name) for name in CHOSEN):
        os.environ[CHOSEN[1]] = str(PROFILE)


def sweep_dead_segments(folder: Path = SHARED_MEMORY, young: float = YOUNG) -> int:
    """Removes the files of dead participants and returns how many ports and segments these were; what lives or is somebody else's stays.
    For whoever starts nodes, before the first of them: many that start together would be making ports meanwhile."""
    swept = 0
    for lock in sorted(folder.glob("fastrtps_*")):
        if lock.name[-3:] not in LOCKS:
            continue
        with contextlib.suppress(OSError):  # another user's, alive (BlockingIOError), or swept by another node at this moment
            if time.time() - lock.stat().st_mtime < young:
                continue
            handle = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_ino != lock.stat().st_ino:  # somebody has made it anew in between
                    continue
                name = lock.name[:-3]
                for path in (folder / name, folder / f"sem.{name}_mutex", lock):
                    path.unlink(missing_ok=True)
                swept += 1
            finally:
                os.close(handle)
    return swept
