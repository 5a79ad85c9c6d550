"""Method cells from training to table: `apprentice insertion`. A cell and seed that has a result is not run again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apprentice_core.insertion import UNSUCCESSFUL
from apprentice_workflows.experiments.result import commit
from apprentice_workflows.insertion.goals import NoiseTarget
from apprentice_workflows.insertion.methods import Method
from apprentice_workflows.insertion.nodes import train_on_nodes
from apprentice_workflows.insertion.rig import Rig
from apprentice_workflows.insertion.settings import InsertionSettings
from apprentice_workflows.insertion.training import train
from apprentice_workflows.insertion.trials import run_trials

RESULT = "result.json"
Progress = Callable[[str, int, int, str], None]
"""(what goes on, done, in all, note)"""


def cell_folder(out: Path, connector: str, method: Method, seed: int) -> Path:
    return out / connector / method.name / f"seed{seed}"


def run_cell(
    out: Path, connector: str, method: Method, s: InsertionSettings, seed: int, tell: Progress, target: NoiseTarget = "command",
    nodes: bool = False,
) -> dict[str, Any]:
    """Trains and judges one method on one connector; returns and writes the cell's result.json. With `nodes` training runs on the processes
    of insertion.launch.xml and a trainer of its own; judging runs in this process either way."""
    folder, rig = cell_folder(out, connector, method, seed), Rig(connector, out)
    if (folder / RESULT).is_file():
        return dict(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    name, began = f"{method.title} on {connector}, seed {seed}", time.monotonic()
    trained: dict[str, Any] = {}
    if method.family != "base":
        learn = train_on_nodes if nodes else train
        trained = learn(rig, method, s, seed, folder, lambda done, total, note: tell(f"train {name}", done, total, note))
    bundle = Path(trained["bundle"]) if trained else None
    judged = run_trials(
        rig, method, bundle, s.executions, folder, seed, lambda done, total, note: tell(f"judge {name}, {note}", done, total, ""), target
    )
    result = {
        "method": method.name, "connector": connector, "seed": seed, "noise_target": target, "settings": s.model_dump(mode="json"),
        **trained, **judged, "unsuccessful_beyond_m": UNSUCCESSFUL, "commit": commit(), "wall_s": round(time.monotonic() - began, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def run_cells(
    out: Path, cells: Sequence[tuple[str, Method]], s: InsertionSettings, seeds: Sequence[int], tell: Progress,
    target: NoiseTarget = "command", nodes: bool = False,
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All of `cells` (connector, method) with all seeds, one after another."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for connector, m in cells:
        for seed in seeds:
            found.setdefault((m.name, connector), []).append(run_cell(out, connector, m, s, seed, tell, target, nodes))
    return found
