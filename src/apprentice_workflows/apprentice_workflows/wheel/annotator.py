"""A scripted annotator: reward curves as a person would draw them, derived from object states (spec 000 sections 2.6 and 8).

A person agrees with others about order within an episode and poorly about scale and timing; so does this one. What it knows for certain is
which frames are successful: these, and only these, lie in the green band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice_core.episode import Episode
from apprentice_core.tasks import Task, TaskState

SUCCESS_BAND = 0.85
"""paper: the green band begins here (tau_s)"""
BELOW, ABOVE = 0.82, 0.87
"""the curve keeps off the band's edge: highest value of a frame without success, lowest of one with it (ours)"""
BEST_SHAPED = 0.9
"""what a task's shaped reward gives at most short of success; the curve is scaled so that this is nearly the band (ours)"""
IDLE = 0.02
"""drawn where nothing of the task is in sight (ours)"""


@dataclass(frozen=True)
class Persona:
    """How a person draws; all numbers ours."""

    name: str = "scripted"
    scale: float = 0.15
    """std of the logarithm of an episode's scale"""
    timing: float = 2.0
    """std of how many frames a whole curve comes late or early"""
    stroke: tuple[int, int] = (4, 12)
    """frames between two turns of the pen, least and most"""
    wobble: float = 0.012
    """std of the pen at each turn"""


def progress(task: Task, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
    """(progress float64 [T + 1] in [0, 1], success bool [T + 1]) of every frame, from the episode's object states and the tool's pose.

    An episode in which the task's objects were not there (another scene) has no progress and no success. ValueError when the bag holds
    object states of another length than its frames.
    """
    frames = len(episode) + 1
    if any(f"object/{name}/pose" not in episode.privileged for name in task.objects):
        return np.zeros(frames), np.zeros(frames, dtype=bool)
    if any(len(v) != frames for v in episode.privileged.values()):
        raise ValueError(f"{episode.episode_id}: object states of another length than its {frames} frames")
    first = {k: np.repeat(v[:1], frames, axis=0) for k, v in episode.privileged.items()}
    state = TaskState(episode.observations, episode.privileged, first)
    success = task.success(state)
    return np.clip(task.shaped(state) / BEST_SHAPED, 0.0, 1.0), success


def draw(curve: np.ndarray, success: np.ndarray, rng: np.random.Generator, persona: Persona = Persona()) -> np.ndarray:
    """float32 [frames] in [0, 1]: strokes through `curve`, with the episode's own scale and timing, in the band where `success` holds."""
    frames = len(curve)
    t = np.arange(frames, dtype=np.float64)
    late = rng.normal(0.0, persona.timing) + np.interp(t, *_bend(frames, persona.timing / 2, rng))
    moved = np.interp(t - late, t, np.where(success, 1.0, curve))
    turns = _turns(success, rng, persona.stroke)
    drawn = np.interp(t, turns, moved[turns] + rng.normal(0.0, persona.wobble, len(turns)))
    scaled = BELOW * drawn * np.exp(rng.normal(0.0, persona.scale))
    below = np.clip(np.maximum(scaled, rng.uniform(0.0, IDLE)), 0.0, BELOW)
    band = np.interp(t, turns, rng.uniform(0.90, 0.97) + rng.normal(0.0, persona.wobble, len(turns)))
    return np.where(success, np.clip(band, ABOVE, 1.0), below).astype(np.float32)


def sketch(task: Task, episode: Episode, rng: np.random.Generator, persona: Persona = Persona()) -> np.ndarray:
    """float32 [T + 1]: the curve for one episode."""
    return draw(*progress(task, episode), rng, persona)


def _bend(frames: int, sigma: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slow drift in time: (frames, offsets) at a few places of an episode."""
    at = np.linspace(0, max(frames - 1, 1), 4)
    return at, rng.normal(0.0, sigma, len(at))


def _turns(success: np.ndarray, rng: np.random.Generator, stroke: tuple[int, int]) -> np.ndarray:
    """Frames at which the pen turns: every few frames, and wherever success begins or ends."""
    last = len(success) - 1
    at = {0, last}
    here = 0
    while here < last:
        here += int(rng.integers(stroke[0], stroke[1] + 1))
        at.add(min(here, last))
    edges = np.flatnonzero(np.diff(success.astype(np.int8)))
    return np.array(sorted(at | set(edges.tolist()) | set((edges + 1).tolist())))
