"""Checkpoints: a folder a step with safetensors and JSON, there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from apprentice_core.errors import ApprenticeError

TENSORS, FACTS = "state.safetensors", "state.json"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], keep: int) -> Path:
    """Writes folder/step_<step> beside and renames it; keeps the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    final, staging = folder / f"step_{step:09d}", folder / f".step_{step:09d}.{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    save_file({k: v.contiguous() for k, v in tensors.items()}, str(staging / TENSORS))
    (staging / FACTS).write_text(json.dumps({"step": step, **facts}), encoding="utf-8")
    for name in (TENSORS, FACTS):
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(final, ignore_errors=True)
    staging.rename(final)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """ApprenticeError when a file is missing or damaged."""
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        return load_file(str(path / TENSORS)), facts
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ApprenticeError(f"{path}: cannot be read as a checkpoint ({error})") from error
