"""Model bundle (contract 7): a folder with bundle.json and safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from apprentice_core.config import Strict
from apprentice_core.errors import BundleError

BUNDLE_FORMAT = 1
WEIGHTS = "weights.safetensors"
MAX_JSON = 4 * 1024 * 1024


class ArraySpecModel(Strict):
    """An array that the model reads, as bundle.json names it."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""


class BundleManifest(Strict):
    """bundle.json"""

    format: Literal[1] = 1
    kind: Literal["policy", "reward", "encoder", "generator", "dynamics", "detector"]
    name: str
    algorithm: str
    observation: tuple[ArraySpecModel, ...]
    action_space: str = ""
    action_space_hash: str = ""
    control_period: float = Field(0.1, gt=0)
    history: int = Field(1, ge=1)
    assumed_latency: float = Field(0.0, ge=0)
    network: dict[str, Any] = Field(default_factory=dict, description="all that rebuilds the network")
    config: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict, description="manifest hash, annotation revision, seed, step, ...")
    references: dict[str, str] = Field(default_factory=dict, description="role to bundle id of other bundles")
    weights_hash: str = Field(description="sha256 of the safetensors file")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def bundle_id(manifest: BundleManifest) -> str:
    """16 hex digits over the whole manifest, weights included: content decides identity."""
    return hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()[:16]


def write_bundle(folder: Path, tensors: dict[str, np.ndarray], **fields: Any) -> str:
    """Writes weights and manifest into a new folder (built beside and renamed, so never half there). Returns the id."""
    from safetensors.numpy import save_file

    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, str(staging / WEIGHTS))
    manifest = BundleManifest(weights_hash=_sha256(staging / WEIGHTS), **fields)
    (staging / "bundle.json").write_text(json.dumps(json.loads(manifest.model_dump_json()), indent=2), encoding="utf-8")
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
        folder.rename(old)
        staging.rename(folder)
        shutil.rmtree(old)
    else:
        staging.rename(folder)
    return bundle_id(manifest)


def read_manifest(folder: Path) -> BundleManifest:
    """bundle.json alone; BundleError names file and field."""
    path = folder / "bundle.json"
    try:
        if path.stat().st_size > MAX_JSON:
            raise BundleError(f"{path}: larger than {MAX_JSON} bytes")
        raw = json.loads(path.read_text(encoding="utf-8"))
        return BundleManifest.model_validate(raw)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: is not JSON ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def read_bundle(folder: Path) -> tuple[BundleManifest, dict[str, np.ndarray]]:
    """Manifest and tensors, the weights checked against their hash; BundleError otherwise."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise BundleError(f"{path}: missing")
    if _sha256(path) != manifest.weights_hash:
        raise BundleError(f"{path}: weights_hash: differs from bundle.json; the file was changed or cut short")
    try:
        return manifest, load_file(str(path))
    except SafetensorError as error:
        raise BundleError(f"{path}: {error}") from error
