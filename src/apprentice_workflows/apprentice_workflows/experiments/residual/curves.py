"""Learning curves and sweeps with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from apprentice_core.statistics import mean_interval

WINDOW = 500
"""control steps that one point of a curve stands for (ours)"""
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d")


def binned(runs: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(steps, mean, low, high) of episode returns over runs, in windows of `WINDOW` control steps."""
    last = min(r["curve"][-1][0] for r in runs)
    edges = np.arange(0, last + WINDOW, WINDOW)
    rows = []
    for low, high in pairwise(edges):
        per_run = [[c[1] for c in r["curve"] if low < c[0] <= high] for r in runs]
        means = [float(np.mean(v)) for v in per_run if v]
        if means:
            rows.append((high, *mean_interval(means)))
    steps, mean, lower, upper = np.array(rows).T
    return steps, mean, lower, upper


def curve_figure(arms: Mapping[str, Sequence[Mapping[str, Any]]], level: float, level_name: str) -> Any:
    """Return over environment steps, a colour an arm, its interval as a band; a dashed line at `level`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, (name, runs) in zip(COLOURS, arms.items(), strict=False):
        steps, mean, low, high = binned(runs)
        axes.plot(steps, mean, color=colour, label=f"{name} (n = {len(runs)})")
        if len(runs) > 1:
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(level, color="#666666", linestyle="--", linewidth=1, label=level_name)
    axes.set_xlabel("control steps")
    axes.set_ylabel("return of an episode (band: 95 % over seeds)")
    axes.legend(frameon=False)
    return figure


def sweep_figure(axis: str, values: Sequence[float], lines: Mapping[str, Sequence[tuple[float, float, float]]]) -> Any:
    """Final return over what was varied, with 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        mean, low, high = np.array(points, dtype=np.float64).T
        error = np.stack([np.where(np.isfinite(low), mean - low, 0.0), np.where(np.isfinite(high), high - mean, 0.0)])
        axes.errorbar(values, mean, yerr=error, color=colour, marker="o", capsize=3, label=name)
    axes.set_xlabel(axis)
    axes.set_ylabel("final return (bars: 95 %)")
    axes.legend(frameon=False)
    return figure
