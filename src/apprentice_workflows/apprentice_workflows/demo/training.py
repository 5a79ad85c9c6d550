"""Training runs as child processes, side by side, watched by their metrics files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apprentice_core.errors import ApprenticeError
from apprentice_workflows.children import end_child, start_child
from apprentice_workflows.cli.progress import bars
from apprentice_workflows.demo.settings import PolicyPlan

POLL = 0.5
BUNDLE = "bundle"
"""name of the bundle's folder in a run's folder"""


def newest_metrics(folder: Path) -> dict[str, float]:
    """The last whole line of metrics.jsonl; {} before the first."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            return dict(json.loads(line))
        except ValueError:
            continue
    return {}


def metric_curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Metric -> [(step, value)] of a whole run."""
    curves: dict[str, list[tuple[float, float]]] = {}
    path = folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        row = json.loads(line)
        for name, value in row.items():
            if name != "step":
                curves.setdefault(name, []).append((row["step"], value))
    return curves


@dataclass
class Run:
    """One training process."""

    plan: PolicyPlan
    folder: Path
    steps: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return self.folder / "train.log"


def start(plan: PolicyPlan, data: Path, where: str, folder: Path) -> Run:
    """Starts (or takes up) one training run in `folder`."""
    from apprentice_learning.config import load_train_config

    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "apprentice_workflows",
        "train",
        plan.config,
        "--data",
        str(data),
        "--out",
        str(folder),
        "--where",
        where,
        "--resume",
    ]
    if plan.steps:
        command += ["--steps", str(plan.steps)]
    if plan.seed >= 0:
        command += ["--seed", str(plan.seed)]
    with (folder / "train.log").open("ab") as log:
        process = start_child(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return Run(plan, folder, plan.steps or load_train_config(plan.config).steps, process)


def train_all(plans: Sequence[PolicyPlan], data: Path, where: str, out: Path, parallel: int = 0) -> None:
    """Trains what has no bundle yet, `parallel` at once (0: all); ApprenticeError with the log's end when one fails. Ctrl-C leaves
    checkpoints."""
    waiting = [p for p in plans if not (out / p.name / BUNDLE / "bundle.json").is_file()]
    runs: list[Run] = []
    try:
        with bars() as progress:
            tasks = {}
            while waiting or any(r.process.poll() is None for r in runs):
                while waiting and (not parallel or sum(r.process.poll() is None for r in runs) < parallel):
                    run = start(waiting[0], data, where, out / waiting.pop(0).name)
                    runs.append(run)
                    tasks[id(run)] = progress.add_task(f"train {run.plan.name}", total=run.steps, note="reading bags")
                for run in runs:
                    _show(run, progress, tasks[id(run)])
                    _raise_if_failed(run)
                time.sleep(POLL)
            for run in runs:
                _show(run, progress, tasks[id(run)])
                _raise_if_failed(run)
    finally:
        for run in runs:
            end_child(run.process)


def _show(run: Run, progress: object, task: object) -> None:
    metrics = newest_metrics(run.folder)
    if metrics:
        loss = next((f"{k.split('/')[-1]} {v:.3g}" for k, v in metrics.items() if k.startswith("validation/")), "")
        progress.update(task, completed=int(metrics["step"]), note=f"{metrics.get('updates_per_s', 0):.1f}/s {loss}")  # type: ignore[attr-defined]


def _raise_if_failed(run: Run) -> None:
    code = run.process.poll()
    if code not in {None, 0}:
        tail = "\n".join(f"  | {line}" for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise ApprenticeError(f"training {run.plan.name} failed (exit {code}); its log is {run.log}\n{tail}")
