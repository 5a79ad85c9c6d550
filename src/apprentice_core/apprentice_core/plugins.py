"""Parts that other packages bring: a backend, a scene or an experts' table is found by entry point, never imported by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from apprentice_core.errors import ApprenticeError

BACKENDS = "apprentice.backends"


def load_plugin(group: str, name: str) -> Any:
    """The object that some installed package registers as `name` in `group`; ApprenticeError lists the known names."""
    found = {e.name: e for e in entry_points(group=group)}
    if name not in found:
        raise ApprenticeError(f"no {group} named {name!r} is installed; known: {', '.join(sorted(found)) or 'none'}")
    return found[name].load()
