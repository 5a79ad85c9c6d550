"""What every step of the wheel works on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from apprentice_store.store import Store
from apprentice_workflows.repairing import repair_what_is_torn
from apprentice_workflows.wheel.config import Numbers, WheelConfig, load_wheel
from apprentice_workflows.wheel.rig import Rig
from apprentice_workflows.wheel.state import WheelState

SCRIPTED = "scripted"
"""who sketches where no person does"""
DEMO_SEED, WATCHER_SEED, OTHER_SEED, TRIAL_SEED, AGENT_SEED = 1, 500_000, 700_000, 800_000, 900_000
"""first starts of each kind of episode: ranges that never meet each other's, nor evaluation's (ours)"""
TURN_STRIDE = 10_000
"""how far the starts of two turns are apart (ours)"""


@dataclass
class WheelContext:
    """One wheel in one folder: `episodes/` (or another store), `reward/`, `agents/`, `logs/`, `state.json`, the reports."""

    out: Path
    config: WheelConfig
    numbers: Numbers
    preset: str
    store: Store
    rig: Rig
    state: WheelState
    user: str = SCRIPTED
    studio: str = ""
    """base URL of a running Studio; empty: one is started for as long as it is needed"""
    blind: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))

    @classmethod
    def open(
        cls, name: str, preset: str, out: Path, data: Path | None = None, nodes: bool = False, user: str = SCRIPTED, studio: str = "",
        blind: bool = False,
    ) -> WheelContext:
        """Reads the config, opens store and state, and repairs what an interruption has left; ApprenticeError for a folder of another
        wheel, preset or cell config."""
        config = load_wheel(name)
        numbers = config.numbers(preset)
        out = out.resolve()
        state = WheelState(out, {"wheel": config.name, "preset": preset, "data": str(data.resolve()) if data else "episodes"})
        store = Store(data or out / "episodes")
        context = cls(out, config, numbers, preset, store, Rig(store, config.cell, nodes, out / "logs"), state, user, studio, blind)
        context._repair()
        return context

    def _repair(self) -> None:
        """Takes in what an interruption has left."""
        report = repair_what_is_torn(self.store)
        if report is None:
            return
        if report.recovered:
            self.console.print(f"recovered {len(report.recovered)} episode(s) that an interruption had cut off")
        for finding in report.hopeless:
            self.console.print(f"left as it is: {finding.name}: {finding.message}", highlight=False)

    @property
    def task(self) -> str:
        return self.config.task

    def seed(self, base: int, turn: int) -> int:
        """The first start of a kind of episode in a turn."""
        return base + (turn - 1) * TURN_STRIDE

    def metadata(self, turn: int, **more: Any) -> dict[str, Any]:
        """What each of the wheel's episodes says of itself in its bag."""
        return {"wheel": self.config.name, "turn": turn, **more}

    def tag(self, turn: int, step: str, name: str) -> str:
        """The tag that finds a step's episodes again."""
        return f"wheel/{self.config.name}/{turn}/{step}/{name}"

    def written(self, path: Path) -> str:
        """How the state names a path: from the wheel's folder on, so that the folder may be moved."""
        return os.path.relpath(path, self.out)

    def found(self, written: str) -> Path:
        """The path that the state names."""
        return Path(os.path.normpath(self.out / written))

    def close(self) -> None:
        self.store.close()
