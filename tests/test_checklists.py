"""docs/checklist/ names a test for each line of a spec: the tests have to be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apprentice_workflows.experiments.registry import experiments

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"((?:\w+/)+test_\w+\.py)::(test_\w+)")
EXPERIMENT = re.compile(r"(?:experiment |`reproduce )(\w+)")
BENCH = re.compile(r"bench `(\w+)`")
LINE = re.compile(r"\b([A-Z]?)(\d+)(?: to [A-Z]?(\d+))?")
COUNTS = {"000.md": {"": 87}, "001c.md": {"A": 32, "B": 33, "C": 43, "X": 18}}


def source(path: str) -> Path:
    package, name = path.split("/", 1)
    return ROOT / path if package == "tests" else ROOT / "src" / f"apprentice_{package}" / "test" / name


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_line_is_there_and_every_named_test_too(name: str) -> None:
    text = (ROOT / "docs" / "checklist" / name).read_text(encoding="utf-8")
    found: dict[str, list[int]] = {}
    for row, seen_by in re.findall(r"^\| ([A-Z]?\d[^|]*) \|[^|\n]*\|([^|\n]*)\|$", text, re.MULTILINE):
        assert seen_by.strip(), row
        for letter, first, last in LINE.findall(row):
            found.setdefault(letter, []).extend(range(int(first), int(last or first) + 1))
    assert {k: sorted(v) for k, v in found.items()} == {k: list(range(1, n + 1)) for k, n in COUNTS[name].items()}, "each line once"
    named = set(NAMED.findall(text))
    assert named
    missing = [f"{p}::{t}" for p, t in sorted(named) if f"def {t}(" not in (source(p).read_text() if source(p).is_file() else "")]
    assert not missing
    assert set(EXPERIMENT.findall(text)) <= set(experiments())
    assert all((ROOT / "benchmarks" / f"{b}.py").is_file() for b in BENCH.findall(text))
