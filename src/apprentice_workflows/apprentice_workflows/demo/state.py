"""What survives an interruption besides the bags themselves: the settings and the time spent in each stage."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_store.bag_metadata import write_durably
from apprentice_workflows.demo.settings import DemoSettings


class DemoState:
    """`<out>/state.json`. Times of a stage add up over interruptions."""

    def __init__(self, out: Path, settings: DemoSettings):
        """ApprenticeError when the folder holds a run of other settings."""
        self.path = out / "state.json"
        self.stages: dict[str, float] = {}
        self.settings = settings
        if not self.path.exists():
            out.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            known, self.stages = saved["hash"], {str(k): float(v) for k, v in saved["stages"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ApprenticeError(f"{self.path}: is not readable; start anew with --fresh") from error
        if known != settings.hash:
            raise ApprenticeError(
                f"{out} holds a run with other settings (another version, or with and without --quick): use --fresh or another --out"
            )

    @property
    def wall_s(self) -> float:
        """Seconds of work so far, over all interruptions."""
        return sum(self.stages.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time of the block, also when it is cut short."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - began
            self._write()

    def _write(self) -> None:
        content = {"hash": self.settings.hash, "stages": self.stages, "settings": asdict(self.settings)}
        write_durably(self.path, json.dumps(content, indent=1))
