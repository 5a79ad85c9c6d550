"""A manifest: which episodes, exactly. Immutable; its content decides its id (lineage, contract 9)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably

MANIFEST_FORMAT = 1
MAX_MANIFEST = 512 << 20


@dataclass(frozen=True)
class Manifest:
    """Episode ids with the hashes of their bags, the query that chose them and the annotation revision that it saw."""

    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    query: str
    revision: int

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.hashes):
            raise ApprenticeError(f"manifest: {len(self.ids)} ids and {len(self.hashes)} hashes")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def hash(self) -> str:
        """sha256 over all of the content, hex."""
        return hashlib.sha256(json.dumps({"format": MANIFEST_FORMAT, **asdict(self)}, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> Path:
        """Writes `<hash>.json`, read-only; the same manifest again changes nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.hash}.json"
        if not path.exists():
            write_durably(path, json.dumps({"format": MANIFEST_FORMAT, "hash": self.hash, **asdict(self)}, indent=1))
            os.chmod(path, 0o444)
        return path

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """ApprenticeError when the file is no manifest, or was changed since it was written."""
        try:
            if path.stat().st_size > MAX_MANIFEST:
                raise ApprenticeError(f"{path}: larger than {MAX_MANIFEST} bytes")
            raw = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(tuple(map(str, raw["ids"])), tuple(map(str, raw["hashes"])), str(raw["query"]), int(raw["revision"]))
            stated, form = raw["hash"], raw["format"]
        except OSError as error:
            raise ApprenticeError(f"{path}: cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ApprenticeError(f"{path}: is not a manifest ({type(error).__name__}: {str(error)[:100]})") from error
        if form != MANIFEST_FORMAT:
            raise ApprenticeError(f"{path}: format {form!r}, this program knows {MANIFEST_FORMAT}")
        if stated != manifest.hash:
            raise ApprenticeError(f"{path}: hash: differs from the content; the file was changed")
        return manifest
