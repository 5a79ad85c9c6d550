"""Training curves as the trainer leaves them: `metrics.jsonl`, `config.json` and `bundle/` of each run folder."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

METRICS = "metrics.jsonl"
POINTS = 600
"""points of a curve at most: more than a plot has pixels for would only be slow (ours)"""
MAX_BYTES = 64 << 20
"""a longer metrics file is read from its end (ours)"""
DEPTH = 3
"""folders deep below the top in which runs are looked for (ours)"""
LIVE = 30.0
"""s since the last line within which a run counts as going on (ours)"""


class RunReader:
    """Runs below `folder`; a name from outside is only ever compared with those that were found, never joined to a path."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._cache: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def names(self) -> dict[str, Path]:
        """Name (path below the top) to folder, newest first; links are not followed."""
        found: list[tuple[float, str, Path]] = []
        level = [self.folder]
        for _ in range(DEPTH):
            below: list[Path] = []
            for parent in level:
                try:
                    children = [c for c in parent.iterdir() if c.is_dir() and not c.is_symlink()]
                except OSError:
                    continue
                for child in children:
                    metrics = child / METRICS
                    if metrics.is_file() and not metrics.is_symlink():
                        found.append((metrics.stat().st_mtime, child.relative_to(self.folder).as_posix(), child))
                    else:
                        below.append(child)
            level = below
        return {name: path for _, name, path in sorted(found, reverse=True)}

    def listing(self) -> list[dict[str, Any]]:
        """One row a run: name, step, steps, algorithm, modified (s since the epoch), live, finished, metrics."""
        return [self._row(name, path) for name, path in self.names().items()]

    def curves(self, name: str) -> dict[str, Any]:
        """The row and `curves`: metric to {step, value}; KeyError when no such run was found."""
        path = self.names()[name]
        return {**self._row(name, path), "curves": self._read(name, path)["curves"]}

    def _row(self, name: str, path: Path) -> dict[str, Any]:
        read, config = self._read(name, path), _config(path)
        modified = (path / METRICS).stat().st_mtime
        steps, finished = config.get("steps"), (path / "bundle" / "bundle.json").is_file()
        learner = config.get("learner")
        return {
            "name": name, "step": read["step"], "steps": steps if isinstance(steps, int) else None,
            "algorithm": str(learner.get("algorithm", "")) if isinstance(learner, dict) else "",
            "modified": modified, "finished": finished, "live": not finished and time.time() - modified < LIVE,
            "metrics": sorted(read["curves"]), "bad_lines": read["bad"],
        }

    def _read(self, name: str, path: Path) -> dict[str, Any]:
        file = path / METRICS
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._cache.get(name)
        if known is None or known[0] != stamp:
            self._cache[name] = known = (stamp, _parse(file, status.st_size))
        return known[1]


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parse(file: Path, size: int) -> dict[str, Any]:
    """Curves thinned to POINTS by averaging neighbours; a line that is torn or foreign is counted, not fatal."""
    series: dict[str, list[tuple[int, float]]] = {}
    bad, last = 0, 0
    with file.open("rb") as lines:
        if size > MAX_BYTES:
            lines.seek(size - MAX_BYTES)
            lines.readline()
        for line in lines:
            try:
                row = json.loads(line)
                step = int(row.pop("step"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                bad += 1
                continue
            last = max(last, step)
            for name, value in row.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    series.setdefault(name, []).append((step, float(value)))
    return {"step": last, "bad": bad, "curves": {n: _thin(points) for n, points in series.items()}}


def _thin(points: list[tuple[int, float]]) -> dict[str, list[float]]:
    array = np.asarray(points, dtype=np.float64)
    if len(array) > POINTS:
        array = np.stack([chunk.mean(axis=0) for chunk in np.array_split(array, POINTS)])
    return {"step": array[:, 0].round().astype(int).tolist(), "value": array[:, 1].tolist()}
