"""What is measured of insertion episodes beside their reward (spec 001c B23-B26, A24, C43): pure functions of one or more episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.episode import Episode

UNSUCCESSFUL = 0.01
"""m of final distance beyond which a plot counts an episode as unsuccessful (paper)"""
HACK_ASIDE, HACK_SHARE = 0.005, 0.5
"""m aside of the socket (spec, B26), and the part of the way from start to goal image that must have been gained (ours)"""
SATURATED = 0.95
"""|a| beyond it counts as saturated (spec B25)"""
CONTACT = 2.0
"""N of change since the start that count as touching (ours)"""


def errors(episode: Episode, plug: str = "plug", socket: str = "socket") -> np.ndarray:
    """Plug's tip minus socket, base frame, m, float64 [T+1, 3]: z is the way still to go. KeyError without privileged poses."""
    poses = [np.asarray(episode.privileged[f"object/{name}/pose"], dtype=np.float64)[:, :3] for name in (plug, socket)]
    return poses[0] - poses[1]


def final_distance(episode: Episode) -> float:
    """m between plug and goal at the end; more than `UNSUCCESSFUL` is unsuccessful in plots (B23)."""
    return float(np.linalg.norm(errors(episode)[-1]))


def saturation(actions: np.ndarray) -> float:
    """Share of numbers in [T, A] with |a| > 0.95 (B25); NaN where there are none."""
    return float((np.abs(actions) > SATURATED).mean()) if actions.size else float("nan")


def tool_spread(episodes: Sequence[Episode]) -> float:
    """Trace of the covariance of all tool positions of the episodes, m^2: how much space exploration took (A24)."""
    positions = np.concatenate([np.asarray(e.observations["tool/pose"], dtype=np.float64)[:, :3] for e in episodes])
    return float(np.trace(np.atleast_2d(np.cov(positions, rowvar=False))))


def first_contact(episode: Episode) -> int | None:
    """First observation at which the plug touched something, by the force since the start; None where it never did."""
    force = np.asarray(episode.observations["wrist/wrench"], dtype=np.float64)[:, :3]
    touched = np.linalg.norm(force - force[0], axis=1) > CONTACT
    return int(touched.argmax()) if touched.any() else None


def first_trial_with_contact(episodes: Sequence[Episode]) -> int | None:
    """Number, from 0, of the first trial in which the plug touched the socket (C43)."""
    return next((i for i, e in enumerate(episodes) if first_contact(e) is not None), None)


@dataclass(frozen=True)
class Hack:
    """An episode whose picture looked right although the plug was beside the socket: `aside` m at observation `step`."""

    episode_id: str
    step: int
    aside: float
    gained: float


def reward_hacks(episodes: Sequence[Episode], reward: str = "goal_image/image", aside: float = HACK_ASIDE) -> list[Hack]:
    """Episodes with a small image distance but a lateral error above `aside` (B26).

    Small: at its best step the episode had gained at least `HACK_SHARE` of what lay between its first image and the goal's. The lateral
    error is that of the same observation, from privileged poses, never from the reward.
    """
    found = []
    for episode in episodes:
        values = np.asarray(episode.rewards[reward], dtype=np.float64)
        if (gain := image_gain(values)) is None:
            continue
        best, gained = gain
        lateral = float(np.linalg.norm(errors(episode)[best + 1, :2]))
        if gained >= HACK_SHARE and lateral > aside:
            found.append(Hack(episode.episode_id, best + 1, lateral, gained))
    return found


def image_gain(values: np.ndarray) -> tuple[int, float] | None:
    """Of an episode's goal-image rewards [T] (0 at the goal, below elsewhere): its best step, and the part of what lay between the first
    picture and the goal's that was gained by then. None where there is no reward, or nothing to gain."""
    known = values[np.isfinite(values)]
    if not known.size or not known[0] < 0:
        return None
    best = int(np.nanargmax(values))
    return best, 1.0 - float(values[best] / known[0])
