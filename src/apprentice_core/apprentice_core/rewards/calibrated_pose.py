"""Ground truth without instruments (spec 001c section 4.2, C2): the tool's pose while a person had the plug fully in, stored once for a
mounted socket and a grasp, says of every later step whether the plug is in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from apprentice_core.config import Strict, load_yaml
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.streams import TOOL_POSE

MIN_SAMPLES = 10
"""observations that a calibration takes, at least (ours)"""
STILL = 5e-4
"""m by which the tool may move while it is calibrated (ours): a fourth of what counts as in"""
INSERTED, ASIDE = 0.002, 0.002
"""m above the floor (or calibrated pose) and beside it that count as in (spec 001c section 8)"""
Metre = Annotated[float, Field(ge=-5.0, le=5.0, allow_inf_nan=False)]


class CalibratedPose(Strict):
    """One file: the pose of a tool whose plug is in."""

    connector: str = Field(min_length=1)
    robot: str = Field(min_length=1)
    position: tuple[Metre, Metre, Metre] = Field(description="of the tool in the base frame, m")
    spread: float = Field(ge=0, le=STILL, description="m: the largest distance of a sample from it")
    samples: int = Field(ge=MIN_SAMPLES)
    episode_id: str = Field("", description="where it was taken from")
    taken: str = Field(description="UTC")


def calibrate(poses: np.ndarray, connector: str, robot: str, episode_id: str = "") -> CalibratedPose:
    """The mean of the tool's poses [N, 7] (m, quaternion xyzw), taken while the plug was held fully in and the arm stood still.

    ApprenticeError for fewer than `MIN_SAMPLES`, a number that is not finite, or an arm that moved.
    """
    at = np.asarray(poses, dtype=np.float64)[:, :3]
    if len(at) < MIN_SAMPLES:
        raise ApprenticeError(f"{len(at)} poses; a calibration takes at least {MIN_SAMPLES}")
    if not np.isfinite(at).all():
        raise ApprenticeError("a pose is not finite")
    mean = at.mean(axis=0)
    spread = float(np.linalg.norm(at - mean, axis=1).max())
    if spread > STILL:
        raise ApprenticeError(f"the tool moved by {1e3 * spread:.2f} mm ({1e3 * STILL} are allowed): hold it for {len(at)} steps")
    return CalibratedPose(
        connector=connector, robot=robot, position=(float(mean[0]), float(mean[1]), float(mean[2])), spread=spread, samples=len(at),
        episode_id=episode_id, taken=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def load_calibrated_pose(path: Path) -> CalibratedPose:
    """ConfigError names what is wrong with the file."""
    if not path.is_file():
        raise ConfigError(str(path), "", "is no file; calibrate first: apprentice calibrate --help")
    return load_yaml(path, CalibratedPose)


class CalibratedReward:
    """Gives `sparse`: 1 while the tool is at most `INSERTED` above its calibrated pose and `ASIDE` beside it. Never terminal.

    The plug must be held as it was when the pose was taken: what slips in the grip shifts the truth with it."""

    name = "calibrated"
    needs_privileged = False
    inputs = (TOOL_POSE,)

    def __init__(self, pose: CalibratedPose):
        self.pose = pose
        self.model_id = f"calibrated/{pose.connector}@{pose.robot}/{pose.taken}"

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        at = np.asarray(batch.next_observation[TOOL_POSE], dtype=np.float64)[:, :3]
        valid = np.asarray(np.isfinite(at).all(axis=1))
        off = at - np.asarray(self.pose.position)
        inserted = valid & (off[:, 2] < INSERTED) & (np.abs(off[:, :2]) < ASIDE).all(axis=1)
        n = len(at)
        return {"sparse": RewardResult(inserted.astype(np.float32), np.full(n, np.nan), valid, np.zeros(n, dtype=bool), inserted)}
