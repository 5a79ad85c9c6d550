"""A manifest: which episodes, exactly. Immutable; its content decides its id (lineage, contract 9)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably

PLAIN_FORMAT, TRIMMED_FORMAT, OVERRIDDEN_FORMAT = 1, 2, 3
"""with trims and overridden rewards only where there are any, so that a manifest without keeps its hash"""
MAX_MANIFEST = 512 << 20


class RewardOverride(NamedTuple):
    """A person's reward for the steps first..last of an episode; a value of None takes back what was said of them before."""

    episode_id: str
    task: str
    first: int
    last: int
    value: float | None


@dataclass(frozen=True)
class Manifest:
    """Episode ids with the hashes of their bags, the query that chose them and the revision that it saw.

    `trims`: (episode id, first, last) of each episode of which only the steps first..last count. `rewards`: what people have said in the
    place of rewards, in their order (see reward_overrides.py).
    """

    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    query: str
    revision: int
    trims: tuple[tuple[str, int, int], ...] = ()
    rewards: tuple[RewardOverride, ...] = ()

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.hashes):
            raise ApprenticeError(f"manifest: {len(self.ids)} ids and {len(self.hashes)} hashes")
        if len({t[0] for t in self.trims}) != len(self.trims) or {t[0] for t in self.trims} - set(self.ids):
            raise ApprenticeError("manifest: trims: not of different episodes of its own")
        for episode_id, first, last in self.trims:
            if not 0 <= first <= last:
                raise ApprenticeError(f"manifest: trims: {episode_id}: no steps {first} to {last}")
        if {o.episode_id for o in self.rewards} - set(self.ids):
            raise ApprenticeError("manifest: rewards: not of episodes of its own")
        for o in self.rewards:
            if not 0 <= o.first <= o.last or not (o.value is None or math.isfinite(o.value)):
                raise ApprenticeError(f"manifest: rewards: {o.episode_id}: {o.value} for the steps {o.first} to {o.last}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def format(self) -> int:
        return OVERRIDDEN_FORMAT if self.rewards else TRIMMED_FORMAT if self.trims else PLAIN_FORMAT

    def _content(self) -> dict[str, Any]:
        content = {"format": self.format, **asdict(self)}
        for name in ("trims", "rewards"):
            if not content[name]:
                del content[name]
        return content

    @property
    def hash(self) -> str:
        """sha256 over all of the content, hex."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def trim_of(self) -> dict[str, tuple[int, int]]:
        """(first, last) by episode id."""
        return {episode_id: (first, last) for episode_id, first, last in self.trims}

    def save(self, folder: Path) -> Path:
        """Writes `<hash>.json`, read-only; the same manifest again changes nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.hash}.json"
        if not path.exists():
            write_durably(path, json.dumps({"hash": self.hash, **self._content()}, indent=1))
            os.chmod(path, 0o444)
        return path

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """ApprenticeError when the file is no manifest, or was changed since it was written."""
        try:
            if path.stat().st_size > MAX_MANIFEST:
                raise ApprenticeError(f"{path}: larger than {MAX_MANIFEST} bytes")
            raw = json.loads(path.read_text(encoding="utf-8"))
            trims = tuple((str(i), int(first), int(last)) for i, first, last in raw.get("trims", ()))
            rewards = tuple(
                RewardOverride(str(i), str(task), int(first), int(last), None if value is None else float(value))
                for i, task, first, last, value in raw.get("rewards", ())
            )
            manifest = cls(
                tuple(map(str, raw["ids"])), tuple(map(str, raw["hashes"])), str(raw["query"]), int(raw["revision"]), trims, rewards,
            )
            stated, form = raw["hash"], raw["format"]
        except OSError as error:
            raise ApprenticeError(f"{path}: cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ApprenticeError(f"{path}: is not a manifest ({type(error).__name__}: {str(error)[:100]})") from error
        if form != manifest.format:
            raise ApprenticeError(f"{path}: format {form!r}, with what it holds this program expects {manifest.format}")
        if stated != manifest.hash:
            raise ApprenticeError(f"{path}: hash: differs from the content; the file was changed")
        return manifest
