"""What is up to date: one small file a stage, written last, holding the hash of all that the stage depends on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def digest(parts: Iterable[str | Path]) -> str:
    """sha256 over texts and file contents (with their names), in the order given."""
    total = hashlib.sha256()
    for part in parts:
        total.update(b"\0" + str(part).encode())
        if isinstance(part, Path):
            total.update(b"\0" + part.read_bytes())
    return total.hexdigest()


class Stamps:
    """Stage names to hashes below one folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def fresh(self, stage: str, wanted: str) -> bool:
        try:
            return (self.folder / f"{stage}.stamp").read_text(encoding="utf-8") == wanted
        except OSError:
            return False

    def clear(self, stage: str) -> None:
        (self.folder / f"{stage}.stamp").unlink(missing_ok=True)

    def write(self, stage: str, value: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{stage}.{os.getpid()}"
        partial.write_text(value, encoding="utf-8")
        partial.replace(self.folder / f"{stage}.stamp")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Two set-ups of one checkout take turns; the kernel frees the lock however its holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("[setup] waiting for another set-up of this checkout ...", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
