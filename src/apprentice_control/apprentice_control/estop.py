"""The emergency stop latch: on disk, so that it outlives the process that set it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from apprentice_core.errors import SafetyError


class EstopLatch:
    """Latched by anyone, cleared only by `reset`, and only once the cause is gone (contract 8).

    The file exists exactly while the latch is set. It is written beside and renamed, so a crash leaves it whole or absent; a
    file that cannot be read counts as latched.
    """

    def __init__(self, path: Path):
        self.path = path
        self.latched = False
        self.reason = self.requested_by = ""
        self.stamp = 0.0
        if path.exists():
            self.latched = True
            self._load()

    def _load(self) -> None:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            self.reason, self.requested_by = str(stored["reason"]), str(stored["requested_by"])
            self.stamp = float(stored["stamp"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.reason = f"latch file {self.path} cannot be read ({error})"

    def latch(self, reason: str, requested_by: str = "", at_once: Callable[[], None] = lambda: None) -> None:
        """Sets the latch, in memory first, and calls `at_once`: a slow or full disk must not keep the arm moving.

        The first reason stands.
        """
        if self.latched:
            return
        self.latched = True
        self.reason, self.requested_by, self.stamp = reason, requested_by, time.time()
        at_once()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staging = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with staging.open("w", encoding="utf-8") as file:
            json.dump({"reason": reason, "requested_by": requested_by, "stamp": self.stamp}, file)
            file.flush()
            os.fsync(file.fileno())
        staging.rename(self.path)
        self._sync_folder()

    def reset(self, cause_gone: Callable[[], bool] | None = None) -> None:
        """Clears the latch; SafetyError, and the latch stays, while `cause_gone` says otherwise."""
        if not self.latched:
            return
        if cause_gone is not None and not cause_gone():
            raise SafetyError(f"the cause of the emergency stop is still there: {self.reason}")
        self.path.unlink(missing_ok=True)
        self._sync_folder()
        self.latched = False
        self.reason = self.requested_by = ""
        self.stamp = 0.0

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
