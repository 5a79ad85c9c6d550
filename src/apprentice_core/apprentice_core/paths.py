"""Where config/, launch/, urdf/ and data live, in a checkout and in an installed workspace."""

from __future__ import annotations

import os
from pathlib import Path

from apprentice_core.errors import ApprenticeError


def share_dir() -> Path:
    """The folder that holds config/, launch/ and urdf/: $APPRENTICE_SHARE, the installed apprentice_bringup, or the checkout."""
    named = os.environ.get("APPRENTICE_SHARE")
    if named:
        return Path(named)
    for parent in Path(__file__).resolve().parents:
        if (parent / "config" / "robots").is_dir():
            return parent
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        candidate = Path(prefix) / "share" / "apprentice_bringup"
        if (candidate / "config" / "robots").is_dir():
            return candidate
    raise ApprenticeError("config/robots not found: source the workspace or set APPRENTICE_SHARE to the folder that holds config/")


def config_path(kind: str, name: str) -> Path:
    """config/<kind>/<name>.yaml; a name that is a path to an existing file is taken as it is."""
    direct = Path(name)
    if direct.suffix in {".yaml", ".yml"} and direct.is_file():
        return direct
    path = share_dir() / "config" / kind / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ApprenticeError(f"no {kind} config named {name!r}; known: {', '.join(known) or 'none'}")
    return path


def data_dir() -> Path:
    """The default data folder (`bags/`): $APPRENTICE_DATA, or bags/ in the current folder."""
    return Path(os.environ.get("APPRENTICE_DATA", "bags"))
