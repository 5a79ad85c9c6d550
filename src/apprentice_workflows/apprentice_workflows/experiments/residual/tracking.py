"""How right the tracked poses of the blocks are (spec 001c A25): against the truth, on still scenes and while the arm works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.episode import Episode
from apprentice_core.images import encode_png
from apprentice_core.rotations import quaternion_to_matrix, rotation_vector
from apprentice_core.streams import TRACKED
from apprentice_learning.online.journal import MemoryJournal
from apprentice_sim.sim_cell import SimCell
from apprentice_workflows.cli.progress import stages
from apprentice_workflows.experiments.residual.arms import BASE, EVALUATION_SEED, NONE, Arm, World, goal_of, open_cell
from apprentice_workflows.experiments.result import Verdict, write_result
from apprentice_workflows.experiments.result import cell as rate

CLAIM = "A25: the poses of the blocks as cameras track them are within 2 mm and 1 degree of the truth"
PRESETS = {"full": (200, 20), "small": (60, 4), "tiny": (3, 1)}
"""preset -> still scenes, episodes of the hand-designed controller"""
NEAR, TURNED = 0.002, 1.0
"""m: the noise that spec 001c section 8 allows a tracker; degrees: ours"""
ROTATION = 0.3


def errors(observed: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses [T, 7] -> (distance in m [T], angle in degrees [T])."""
    turns = [quaternion_to_matrix(a) @ quaternion_to_matrix(b).T for a, b in zip(observed[:, 3:], true[:, 3:], strict=True)]
    angles = [float(np.linalg.norm(rotation_vector(t))) for t in turns]
    return np.linalg.norm(observed[:, :3] - true[:, :3], axis=1), np.degrees(angles)


def pose_tracking(preset: str, data: Path, out: Path) -> dict[str, Any]:
    """`data` is not used: there is nothing to go on with. Leaves frame.png, a picture with what was found in it, beside the result."""
    scenes, episodes = PRESETS[preset]
    began = time.monotonic()
    arm = Arm("tracked", World(ROTATION, cell="sawyer_assembly_tracked"), learner="", steps=0)
    journal = MemoryJournal()
    cell = open_cell(arm, 0, journal, NONE)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"still": [], "worked on": []}
    lost = 0
    try:
        with stages() as tell:
            for i in range(scenes):
                result = cell.reset(ResetRequest(seed=EVALUATION_SEED + i))
                lost += not result.ok
                if result.ok:
                    found["still"] += _compare(cell.observe(), cell.privileged())
                if i == 0:
                    out.mkdir(parents=True, exist_ok=True)
                    (out / "frame.png").write_bytes(encode_png(picture(cell)))
                tell("still scenes", i + 1, scenes, "")
            for i in range(episodes):
                cell.run(EpisodeRequest(arm.world.task_name, BASE, ResetRequest(seed=EVALUATION_SEED + i), metadata=goal_of(cell)))
                episode = journal.entries[-1].episode
                assert episode is not None
                lost += episode.outcome.reason == "sensor_stale"
                found["worked on"] += _compare(_rows(episode), episode.privileged)
                tell("episodes", i + 1, episodes, "")
    finally:
        cell.close()
    cells, measured = [], {}
    for kind, parts in found.items():
        metres, degrees = (np.concatenate(x) for x in zip(*parts, strict=True))
        near = int(((metres < NEAR) & (degrees < TURNED)).sum())
        cells.append(rate(f"{kind}, within 2 mm and 1 degree", near, len(metres), None))
        measured[kind] = {
            "poses": len(metres), "mm_mean": _rounded(1000 * metres.mean()), "mm_p95": _rounded(1000 * np.quantile(metres, 0.95)),
            "mm_most": _rounded(1000 * metres.max()), "degrees_mean": _rounded(degrees.mean()),
            "degrees_p95": _rounded(np.quantile(degrees, 0.95)), "degrees_most": _rounded(degrees.max()),
        }
    holds: Verdict = "holds" if all(c["low"] > 0.95 for c in cells) else "undecided" if preset == "tiny" else "does not hold"
    return write_result(
        out, CLAIM, cells, holds, [0], {"preset": preset, "rotation": ROTATION, "cell": "sawyer_assembly_tracked"},
        time.monotonic() - began, measured=measured, lost=lost,
    )


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _rows(episode: Episode) -> dict[str, np.ndarray]:
    return {n: a for n, a in episode.observations.items() if n.startswith(TRACKED)}


def _compare(observed: dict[str, np.ndarray], true: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    names = [n for n in observed if n.startswith(TRACKED) and n.endswith("/pose")]
    return [errors(np.reshape(observed[n], (-1, 7)), np.reshape(true[n.removeprefix(TRACKED)], (-1, 7))) for n in names]


def picture(cell: SimCell, scale: int = 2) -> np.ndarray:
    """What the tracker's cameras see, side by side, with the markers that were found and the axes of the poses that follow; RGB."""
    tracked = cell.observer.tracked
    assert tracked is not None
    poses = {n: cell.observe()[f"{TRACKED}object/{n}/pose"].astype(np.float64) for n in tracked.tracker.names}
    parts = []
    for name, camera in tracked.tracker.cameras.items():
        frame = np.repeat(np.repeat(tracked.renderer.render(name), scale, axis=0), scale, axis=1)
        found = tracked.tracker.sightings[name]
        if found:
            corners = [((c + 0.5) * scale - 0.5).astype(np.float32)[None] for c in found.values()]
            cv2.aruco.drawDetectedMarkers(frame, corners, np.array(list(found)), (255, 0, 255))
        k = camera.k * scale
        k[:2, 2], k[2, 2] = (camera.k[:2, 2] + 0.5) * scale - 0.5, 1.0
        for pose in poses.values():
            turn = rotation_vector(camera.rotation @ quaternion_to_matrix(pose[3:]))
            cv2.drawFrameAxes(frame, k, None, turn, camera.rotation @ pose[:3] + camera.translation, 0.03, 2)
        parts.append(frame)
    return np.concatenate(parts, axis=1)
