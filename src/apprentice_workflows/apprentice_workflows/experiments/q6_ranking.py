"""Claim Q6 of spec 000: a ranking loss tolerates that each sketch has a scale of its own; regression of the values does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apprentice_workflows.experiments.lift_episodes import TAG, TASK, collect, progress_curve

CLAIM = (
    "Q6: the ranking loss tolerates per-annotator rescaling of sketches (each episode rescaled on its own, every frame kept on its side "
    "of tau_s): validation pair accuracy hardly moves, while that of a regression model degrades."
)
Loss = Literal["ranking", "regression"]
LOSSES: tuple[Loss, ...] = ("ranking", "regression")
SKETCHES = ("plain", "rescaled")
HARDLY = 0.02
"""ours: what pair accuracy may lose and still count as hardly moved"""


@dataclass(frozen=True)
class Q6Settings:
    """All ours: the paper argues Q6 and prints no number."""

    episodes: int = 40
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    steps: int = 400
    batch_episodes: int = 8
    batch_frames: int = 8
    learning_rate: float = 1e-3
    validation: float = 0.3
    lowest_scale: float = 0.3
    largest_power: float = 2.0
    preset: Literal["full", "small"] = "small"


def rescaled(values: np.ndarray, tau: float, rng: np.random.Generator, settings: Q6Settings) -> np.ndarray:
    """One annotator's idea of the scale: below tau_s tau a u^p with u = s / tau, a in [lowest, 1), p log-uniform in [1 / largest, largest];
    above it the band is squeezed likewise. Monotone, and no frame changes its side of tau_s. float32 [frames]."""
    s = values.astype(np.float64)
    a, p = rng.uniform(settings.lowest_scale, 0.999), settings.largest_power ** rng.uniform(-1.0, 1.0)
    below = tau * a * np.clip(s / tau, 0.0, 1.0) ** p
    above = tau + (1.0 - tau) * (0.05 + 0.95 * rng.uniform(0.3, 1.0) * np.clip((s - tau) / (1.0 - tau), 0.0, 1.0))
    edge = np.float32(tau)  # a curve of float32 stands at tau_s when it is the nearest float32 to it, as for the loss
    return np.where(values > edge, above, np.where(values < edge, below, s)).astype(np.float32)


def annotate(data: Path, settings: Q6Settings) -> None:
    """A true and a rescaled curve for each episode, as sketches of the users `plain` and `rescaled`, under tasks of their own."""
    from apprentice_learning.rewards.sketch_loss import SketchLossConfig
    from apprentice_store.sketches import sketches
    from apprentice_store.store import Store

    tau = SketchLossConfig().tau_s
    with Store(data) as store:
        known = {kind: set(sketches(store.catalogue, f"{TASK}_{kind}").episode_ids) for kind in SKETCHES}
        for row in store.episodes(f"tag = '{TAG}'"):
            if all(row.episode_id in ids for ids in known.values()):
                continue
            curve = progress_curve(store, row.episode_id)
            curves = {"plain": curve, "rescaled": rescaled(curve, tau, np.random.default_rng([6, row.seed or 0]), settings)}
            for kind, values in curves.items():
                if row.episode_id not in known[kind]:
                    store.catalogue.add_reward_sequence(row.episode_id, f"{TASK}_{kind}", values, kind)


def train_cell(
    data: Path, out: Path, loss: Loss, kind: str, seed: int, settings: Q6Settings, progress: Callable[..., None]
) -> dict[str, Any]:
    """Trains one model; its held-out episodes are judged by the plain curves. {episode id: [pairs in order, pairs]}."""
    from apprentice_core.config import load_task
    from apprentice_learning.rewards.config import RewardTrainConfig
    from apprentice_learning.rewards.metrics import Counts
    from apprentice_learning.rewards.reward_trainer import RewardTrainer
    from apprentice_learning.rewards.sketch_data import SketchedColumns
    from apprentice_store.sketches import sketches
    from apprentice_store.store import Store

    task = load_task(TASK)
    config = RewardTrainConfig(
        name="q6", task=f"{TASK}_{kind}", preset=settings.preset, cameras=tuple(f"camera/{c}" for c in task.cameras), proprio=task.proprio,
        loss=loss, seed=seed, steps=settings.steps, episodes=settings.batch_episodes, frames=settings.batch_frames,
        learning_rate=settings.learning_rate, validation=settings.validation, validate_every=100, patience=0, log_every=100,
    )
    names = (*config.cameras, *config.proprio)
    with Store(data) as store:
        columns = SketchedColumns.open(store, config.task, names)
        truth = {s.episode_id: s.values for s in sketches(store.catalogue, f"{TASK}_plain").sketches}
    trainer = RewardTrainer(config, columns, out / f"{loss}_{kind}_{seed}")
    trainer.resume()
    result = trainer.run(lambda done, total, metrics: progress(f"{loss}, {kind}, seed {seed}", done, total, metrics))
    judged: dict[str, list[int]] = {}
    totals = Counts()
    for curve in trainer.sampler.validation:
        # The last weights, not the best of a validation: what is judged must not have chosen them.
        reward, values = trainer.predict(curve.rows), truth[curve.episode_id]
        own = Counts()
        for counts in (own, totals):
            counts.add(reward, values, config.margins, config.threshold)
        judged[curve.episode_id] = [own.ordered, own.pairs]
    return {"stopped": result.stopped, "steps": result.steps, "wall_s": result.wall_s, "episodes": judged, **totals.as_dict()}


Judged = list[dict[str, list[int]]]
"""a run an entry: held-out episode id to [pairs in order, pairs]"""
DRAWS = 4000


def _bootstrap(weights: np.ndarray, parts: np.ndarray) -> tuple[float, float, float]:
    """(value, low, high) of sum(parts) / sum(weights), 95 %. Drawn are whole episodes of a seed: their pairs are not independent."""
    drawn = np.random.default_rng(0).integers(0, len(parts), (DRAWS, len(parts)))
    low, high = np.percentile(parts[drawn].sum(axis=1) / weights[drawn].sum(axis=1), [2.5, 97.5])
    return float(parts.sum() / weights.sum()), float(low), float(high)


def interval(runs: Judged) -> tuple[float, float, float]:
    """Pooled pair accuracy of a cell."""
    counts = np.array([c for run in runs for c in run.values()], dtype=np.float64)
    return _bootstrap(counts[:, 1], counts[:, 0])


def drops(runs: dict[tuple[str, str], Judged]) -> dict[str, tuple[float, float, float]]:
    """What rescaling costs each loss in pooled pair accuracy, and `difference`, what it costs regression more than ranking. Paired: with
    one seed all four models hold out the same episodes, and all are judged on the same pairs."""
    ids = [(k, i) for k, run in enumerate(runs["ranking", "plain"]) for i in run]
    ordered = {cell: np.array([found[k][i][0] for k, i in ids], dtype=np.float64) for cell, found in runs.items()}
    pairs = np.array([runs["ranking", "plain"][k][i][1] for k, i in ids], dtype=np.float64)
    lost: dict[str, np.ndarray] = {loss: ordered[loss, "plain"] - ordered[loss, "rescaled"] for loss in LOSSES}
    lost["difference"] = lost["regression"] - lost["ranking"]
    return {name: _bootstrap(pairs, parts) for name, parts in lost.items()}


def verdict(found: dict[str, tuple[float, float, float]]) -> str:
    """`holds`: ranking surely loses less than HARDLY, regression surely something, and surely more than ranking. `does not hold`: ranking
    surely loses more than HARDLY, or regression surely no more than ranking. Else `undecided`."""
    if found["ranking"][2] < HARDLY and found["regression"][1] > 0.0 and found["difference"][1] > 0.0:
        return "holds"
    if found["ranking"][1] > HARDLY or found["difference"][2] <= 0.0:
        return "does not hold"
    return "undecided"


def q6_ranking(out: Path, data: Path, settings: Q6Settings, commit: str, progress: Callable[..., None]) -> dict[str, Any]:
    """Collects, sketches, trains and judges what is missing; writes result.json and plot.png into `out`. Resumable; Ctrl-C is clean."""
    out.mkdir(parents=True, exist_ok=True)
    collect(data, settings.episodes, lambda done, total: progress("recording", done, total, {}))
    annotate(data, settings)
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for loss, kind, seed in _grid(settings):
        kept = data / "q6" / f"{loss}_{kind}_{seed}.json"
        if not kept.is_file():
            said = train_cell(data, data / "q6", loss, kind, seed, settings, progress)
            if said["stopped"]:
                raise KeyboardInterrupt
            kept.write_text(json.dumps(said), encoding="utf-8")
        runs.setdefault((loss, kind), []).append(json.loads(kept.read_text(encoding="utf-8")))
    judged = {cell: [r["episodes"] for r in found] for cell, found in runs.items()}
    cells = []
    for cell, found in runs.items():
        value, low, high = interval(judged[cell])
        ordered, pairs = (sum(c[k] for run in judged[cell] for c in run.values()) for k in (0, 1))
        cells.append({
            "name": f"{cell[0]}, {cell[1]} sketches", "successes": ordered, "trials": pairs, "low": low, "high": high, "paper": None,
            "pair_accuracy": value, "by_seed": [r["pair_accuracy"] for r in found],
            **{k: [r.get(k) for r in found] for k in ("success_precision", "success_recall")},
        })
    lost = drops(judged)
    result = {
        "claim": CLAIM, "cells": cells, "verdict": verdict(lost),
        "drop": {k: dict(zip(("value", "low", "high"), v, strict=True)) for k, v in lost.items()},
        "unit": "pairs of frames of held-out episodes, beyond mu_s in the plain curve; intervals by bootstrap over (seed, episode)",
        "seeds": list(settings.seeds), "config": vars(settings), "commit": commit,
        "wall_s": round(sum(r["wall_s"] for found in runs.values() for r in found), 1),
    }
    (out / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    plot(result, out / "plot.png")
    return result


def _grid(settings: Q6Settings) -> Iterator[tuple[Loss, str, int]]:
    for seed in settings.seeds:
        for loss in LOSSES:
            for kind in SKETCHES:
                yield loss, kind, seed


def plot(result: dict[str, Any], path: Path) -> None:
    """Pooled accuracies with their intervals, a dot a seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for x, cell in enumerate(result["cells"]):
        value = cell["pair_accuracy"]
        colour = "tab:green" if cell["name"].startswith("ranking") else "tab:orange"
        error = [[value - cell["low"]], [cell["high"] - value]]
        axes.errorbar(x, value, yerr=error, fmt="o", ms=9, color=colour, capsize=5)
        axes.plot([x + 0.15] * len(cell["by_seed"]), cell["by_seed"], ".", color="grey", ms=6)
    axes.set_xticks(range(len(result["cells"])), [c["name"].replace(", ", "\n") for c in result["cells"]], fontsize=9)
    axes.set_xlim(-0.5, len(result["cells"]) - 0.5)
    axes.grid(axis="y", alpha=0.3)
    axes.set_ylabel("held-out pairs in order")
    axes.set_title(f"Q6, {len(result['seeds'])} seeds (grey): {result['verdict']}", fontsize=10)
    FigureCanvasAgg(figure).print_png(str(path))


def quick(settings: Q6Settings) -> Q6Settings:
    """To see that it runs, not to quote."""
    return replace(settings, episodes=6, seeds=(0,), steps=4, batch_episodes=2, validation=0.4)
