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
                axes.plot([p[0] for p in points], [p[1] for p in points], label=part)
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
