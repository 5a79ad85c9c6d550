"""Where trained reward models stand: `<data folder>/models/reward/<task>/<bundle id>/`, each for ever (spec 000 checklist line 72)."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from apprentice_core.bundle import read_manifest
from apprentice_core.errors import ApprenticeError, BundleError

_ID = re.compile(r"[0-9a-f]{16}")


def models_folder(data: Path, task: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", task):
        raise ApprenticeError(f"task {task[:100]!r} cannot name a folder: letters, digits, '.', '_' and '-' only")
    return data / "models" / "reward" / task


def publish(built: Path, data: Path, task: str, model_id: str) -> Path:
    """Moves a bundle that was just written to its place; the same model again changes nothing."""
    final = models_folder(data, task) / model_id
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(built)
    else:
        built.rename(final)
    return final


def staging(data: Path, task: str) -> Path:
    """A place on the same disk to build a bundle in."""
    folder = models_folder(data, task)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"new-{os.getpid()}"


def list_models(data: Path, task: str) -> list[Path]:
    """Oldest first: by the annotation revision that each learned from, then by when it was written. Unreadable ones are left out."""
    found: list[tuple[int, float, Path]] = []
    for folder in models_folder(data, task).glob("*"):
        if not _ID.fullmatch(folder.name):
            continue
        try:
            revision = read_manifest(folder).lineage.get("annotation_revision", 0)
            found.append((revision if isinstance(revision, int) else 0, (folder / "bundle.json").stat().st_mtime, folder))
        except (BundleError, OSError):
            continue
    return [folder for *_, folder in sorted(found)]


def find_model(data: Path, task: str, model: str = "") -> Path:
    """The bundle's folder: `model` is an id, a folder, or empty for the newest of the task. ApprenticeError tells what there is."""
    known = list_models(data, task)
    if not model:
        if not known:
            raise ApprenticeError(f"{models_folder(data, task)}: no reward model of {task!r}; first run `apprentice reward-train {task}`")
        return known[-1]
    if _ID.fullmatch(model):
        for folder in known:
            if folder.name == model:
                return folder
    if (Path(model) / "bundle.json").is_file():
        return Path(model)
    raise ApprenticeError(f"no reward model {model!r} of task {task!r}; known: {', '.join(f.name for f in known) or 'none'}")
