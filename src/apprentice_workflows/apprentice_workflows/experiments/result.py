"""What every experiment leaves: result.json (its keys are an interface), plot.png, and a table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from apprentice_core.errors import ApprenticeError
from apprentice_core.statistics import wilson
from apprentice_workflows.cli.output import percent, print_table
from apprentice_workflows.demo.pictures import rate_figure
from apprentice_workflows.project import root

Verdict = Literal["holds", "does not hold", "undecided"]


def cell(name: str, successes: int, trials: int, paper: float | None) -> dict[str, Any]:
    """One cell of a table of success rates, with its Wilson 95 % interval and the paper's rate (None: it prints none)."""
    low, high = wilson(successes, trials)
    return {"name": name, "successes": successes, "trials": trials, "low": low, "high": high, "paper": paper}


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; `unknown` outside of a checkout."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root(), capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (ApprenticeError, OSError, subprocess.CalledProcessError):
        return "unknown"


def write_result(
    out: Path, claim: str, cells: Sequence[Mapping[str, Any]], verdict: Verdict, seeds: Sequence[int], config: Mapping[str, Any],
    wall_s: float, **more: Any,
) -> dict[str, Any]:
    """Writes result.json and plot.png into `out`; returns the result. A cell's name is '<set>, <who>'."""
    result = {
        "claim": claim, "cells": [dict(c) for c in cells], "verdict": verdict, "seeds": list(seeds), "config": dict(config),
        "commit": commit(), "wall_s": round(wall_s, 1), **more,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    rows = [{**c, **dict(zip(("group", "label"), c["name"].split(", ", 1), strict=True))} for c in cells if c["trials"]]
    if rows:
        rate_figure(rows).savefig(out / "plot.png", dpi=110)
    return result


def show(name: str, result: Mapping[str, Any]) -> None:
    """The table on standard output."""
    rows = [
        (
            c["name"], f"{c['successes']}/{c['trials']}", percent(c["successes"] / max(1, c["trials"])),
            f"{percent(c['low'])} to {percent(c['high'])}", "" if c["paper"] is None else percent(c["paper"]),
        )
        for c in result["cells"]
    ]
    print_table(f"{name}: {result['verdict']}. {result['claim']}", ("cell", "successes", "rate", "95 % interval", "paper"), rows)
