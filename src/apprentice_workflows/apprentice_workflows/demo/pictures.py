"""Plots and camera strips as data URLs of PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apprentice_core.episode import Episode
from apprentice_core.images import encode_png

FRAMES = 8
GAP = 4
"""pixels between frames"""


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return data_url(buffer.getvalue())


def success_plot(policies: Sequence[Mapping[str, Any]], target: float) -> str:
    """Success rates with their Wilson intervals."""
    figure, axes = _figure(6.4, 0.9 + 0.55 * len(policies))
    for i, p in enumerate(policies):
        rate = p["successes"] / max(1, p["episodes"])
        axes.barh(i, rate, color="#4c78a8", height=0.55)
        axes.plot([p["wilson_low"], p["wilson_high"]], [i, i], color="black", linewidth=2)
        axes.text(1.02, i, f"{p['successes']}/{p['episodes']}", va="center")
    axes.axvline(target, color="#999999", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(policies)), [p["name"] for p in policies])
    axes.set_xlim(0, 1.15)
    axes.invert_yaxis()
    axes.set_xlabel("success rate (line: 95 % Wilson interval)")
    return _png(figure)


def rate_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rate_figure` as a data URL."""
    return _png(rate_figure(rows))


def rate_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A figure of success rates as bars: `group` on the axis, `label` by colour (20 at the most), `low` and `high` as line, `paper` (or
    None) as a mark."""
    from matplotlib import colormaps

    groups, labels = (list(dict.fromkeys(str(r[k]) for r in rows)) for k in ("group", "label"))
    bars = len(groups) * max(1, len(labels))
    crowded = bars > 20
    figure, axes = _figure(1.6 + (0.2 if crowded else 0.5) * max(3, bars), 3.0)
    width = 0.8 / max(1, len(labels))
    colours = [f"C{k}" for k in range(len(labels))] if len(labels) <= 10 else [colormaps["tab20"](k) for k in range(len(labels))]
    for r in rows:
        k = labels.index(str(r["label"]))
        x = groups.index(str(r["group"])) + (k - (len(labels) - 1) / 2) * width
        known = r["label"] not in axes.get_legend_handles_labels()[1]
        rate = r["successes"] / max(1, r["trials"])
        axes.bar(x, rate, 0.9 * width, color=colours[k], label=r["label"] if known else None)
        axes.plot([x, x], [r["low"], r["high"]], color="black", linewidth=1.5)
        if r["paper"] is not None:
            axes.plot([x - 0.4 * width, x + 0.4 * width], [r["paper"]] * 2, color="#d62728", linewidth=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("success rate (black: 95 %, red: paper)", fontsize=8)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08), "ncols": 5} if crowded else {}
    axes.legend(fontsize=7, **below)
    return figure


def line_plot(
    title: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylim: tuple[float, float] | None = None
) -> str:
    """One panel of lines (x, y) by name."""
    figure, axes = _figure(4.2, 2.6)
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="o" if len(x) < 8 else None, label=name)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(xlabel, fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if ylim:
        axes.set_ylim(*ylim)
    axes.legend(fontsize=7)
    return _png(figure)


def curve_plot(name: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Training and validation losses over updates, one small panel each."""
    from matplotlib.figure import Figure

    losses = sorted({k.split("/", 1)[1] for k in curves if k.startswith(("train/", "validation/"))})
    shown = [n for n in losses if "loss" in n] or losses
    shown = shown[:4]
    figure = Figure(figsize=(3.2 * max(1, len(shown)), 2.5), layout="constrained")
    for axes, loss in zip(np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
        for part in ("train", "validation"):
            points = curves.get(f"{part}/{loss}", ())
            if points:
                axes.plot([p[0] for p in points], [p[1] for p in points], label=part, marker="." if len(points) == 1 else None)
        axes.set_title(f"{name}: {loss}", fontsize=9)
        axes.set_xlabel("updates", fontsize=8)
        axes.legend(fontsize=7)
    return _png(figure)


def camera_strip(episode: Episode) -> str:
    """Evenly spaced frames of every colour camera, one row a camera."""
    rows = []
    times = np.linspace(0, len(episode), FRAMES).round().astype(int)
    cameras = sorted(k for k, v in episode.observations.items() if k.startswith("camera/") and v.ndim == 4)
    width = max((episode.observations[c].shape[2] for c in cameras), default=1)
    for camera in cameras:
        images = episode.observations[camera]
        height = images.shape[1]
        row = np.full((height + GAP, FRAMES * (width + GAP), 3), 255, dtype=np.uint8)
        for i, t in enumerate(times):
            row[:height, i * (width + GAP) : i * (width + GAP) + images.shape[2]] = images[t]
        rows.append(row)
    return data_url(bytes(encode_png(np.concatenate(rows)))) if rows else ""
