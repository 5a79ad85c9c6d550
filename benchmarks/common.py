"""What every bench shares: the form of a result, facts of the machine, fair turns between two sides."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Measure:
    """One figure of a bench, with its unit."""

    value: float
    unit: str


@dataclass(frozen=True)
class BenchResult:
    """`ratio` is the headline, `target` what it has to reach; `failures` are further targets that were missed."""

    bench: str
    ratio: float
    target: float
    reference: str
    """what the ratio is against, in words"""
    measures: dict[str, Measure] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.ratio >= self.target and not self.failures

    def to_json(self) -> str:
        """One line; the keys are an interface that other tools read."""
        return json.dumps(
            {
                "bench": self.bench,
                "ratio": round(self.ratio, 4),
                "target": self.target,
                "passed": self.passed,
                "failures": list(self.failures),
                "measures": {k: {"value": m.value, "unit": m.unit} for k, m in self.measures.items()},
                "reference": self.reference,
                "machine": machine_facts(),
            }
        )


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory, Python and the packages that decide a speed."""
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {name: version(name) for name in ("numpy", "torch", "pybullet", "ros-jazzy-rclpy") if _installed(name)},
    }


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Runs the sides in turn, `rounds` times, so that a noisy neighbour hits them alike; each returns a figure, the median counts."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            figures[name].append(side())
    return {name: statistics.median(values) for name, values in figures.items()}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(values: list[float], q: float) -> float:
    """Nearest-rank percentile, q in [0, 100]."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))]


def say(text: str) -> None:
    """Progress for a person, on standard error: standard output ends with the JSON line."""
    print(text, file=sys.stderr, flush=True)
