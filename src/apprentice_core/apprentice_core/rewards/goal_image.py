"""The reward that a picture gives (spec 001c section 3.3): how far the camera's view is from one of the plug fully in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice_core.errors import ConfigError
from apprentice_core.images import GRAY, decode_png, encode_png, to_gray32
from apprentice_core.reward import RewardBatch, RewardResult

SCALE = 10.0
"""ours (spec 001c section 8)"""
MAX_BYTES = 1 << 20
PIPELINE = f"box-mean-{GRAY}"
"""name of the image pipeline in the hash: a picture taken for another one is not comparable (X18)"""


@dataclass(frozen=True)
class GoalImage:
    """`frame` uint8 [H, W, 3]: the camera's own picture of the goal; `gray` float32 [32, 32]: what is compared."""

    camera: str
    frame: np.ndarray
    gray: np.ndarray
    hash: str


def _goal_image(camera: str, frame: np.ndarray) -> GoalImage:
    frame = np.ascontiguousarray(frame)
    digest = hashlib.blake2b(f"{PIPELINE}/{camera}/{frame.shape}".encode(), digest_size=8)
    digest.update(frame.data)
    return GoalImage(camera, frame, to_gray32(frame), digest.hexdigest())


def capture_goal_image(frame: np.ndarray, camera: str, path: Path) -> GoalImage:
    """Stores the camera's present frame, taken with the plug fully in: `path` (PNG) and beside it `path`.json with camera and hash.

    One picture per mounted socket, exposure and white balance locked. ValueError for a frame that the pipeline cannot reduce.
    """
    image = _goal_image(camera, frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image.frame))
    path.with_suffix(".json").write_text(json.dumps({"camera": camera, "hash": image.hash, "pipeline": PIPELINE}) + "\n", encoding="utf-8")
    return image


def load_goal_image(path: Path) -> GoalImage:
    """ConfigError when the files are absent, too large, no picture, or not the one that was captured."""
    note = path.with_suffix(".json")
    try:
        if path.stat().st_size > MAX_BYTES or note.stat().st_size > MAX_BYTES:
            raise ConfigError(str(path), "", f"larger than {MAX_BYTES} bytes")
        said = json.loads(note.read_text(encoding="utf-8"))
        image = _goal_image(str(said["camera"]), decode_png(path.read_bytes()))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror}); capture a goal image first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(str(path), "", f"is no goal image ({error})") from error
    if said.get("pipeline") != PIPELINE:
        raise ConfigError(str(note), "pipeline", f"{said.get('pipeline')!r}, expected {PIPELINE!r}; capture the goal image anew")
    if said.get("hash") != image.hash:
        raise ConfigError(str(note), "hash", f"{said.get('hash')!r}, but the picture has {image.hash}; one of them was changed")
    return image


class GoalImageReward:
    """Gives `image`: -10 mean |I - I_g| of the state after each transition, pixels in [0, 1]; 0 and no more at the goal frame itself.

    It cannot tell depth along the camera's axis (core's `insertion.reward_hacks` looks for that), so it claims no success.
    """

    name = "goal_image"
    needs_privileged = False

    def __init__(self, goal: GoalImage, scale: float = SCALE):
        self.goal, self.scale = goal, scale
        self.camera = f"camera/{goal.camera}"
        self.inputs = (self.camera,)
        self.model_id = f"goal_image/1/{goal.hash}/{scale:g}"

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """KeyError without the camera; ValueError for frames of another size."""
        frames = np.asarray(batch.next_observation[self.camera])
        distance = np.abs(to_gray32(frames) - self.goal.gray).mean(axis=(-2, -1))
        n = len(distance)
        no, yes = np.zeros(n, dtype=bool), np.ones(n, dtype=bool)
        return {"image": RewardResult((-self.scale * distance).astype(np.float32), np.full(n, np.nan), yes, no, no)}
