"""Where the checkout is, for what only exists in one: tests, benchmarks, lint."""

from __future__ import annotations

import os
from pathlib import Path

from apprentice_core.errors import ApprenticeError


def root() -> Path:
    """The top of the checkout: $APPRENTICE_ROOT (set by ./apprentice), or the folder above src/ that this file is linked from."""
    named = os.environ.get("APPRENTICE_ROOT")
    candidates = [Path(named)] if named else list(Path(__file__).resolve().parents)
    for folder in candidates:
        if (folder / "pyproject.toml").is_file() and (folder / "src" / "apprentice_core").is_dir():
            return folder
    raise ApprenticeError("this command needs a checkout of the suite: run ./apprentice in it, or set APPRENTICE_ROOT")
