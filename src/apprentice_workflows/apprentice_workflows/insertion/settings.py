"""How long a method cell is trained and how it is judged (spec 001c sections 3.5 and 8)."""

from __future__ import annotations

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError


class InsertionSettings(Strict):
    """One preset. The learner's own numbers stand in config/online/."""

    steps: int = Field(5000, ge=1, description="ours (spec 001c section 8): control steps of training, warm-up included")
    warmup: int = Field(1000, ge=1, description="released code: steps of uniformly random actions before the first update")
    executions: int = Field(25, ge=1, description="paper: of the trained policy, in each goal condition")
    solved: int = Field(20, ge=1, description="ours (spec 001c section 8): successes in a row that count as solved; training goes on")
    demonstrations: int = Field(20, ge=1, description="ours: the paper does not say how many")
    image_batch: int = Field(64, ge=1, description="ours: of learners on images; the 256 of section 3.4 take a CPU too long")
    image_width: int = Field(256, ge=1, description="ours (spec 001c section 3.4): of the two layers behind an image encoder")


PRESETS = {
    "full": InsertionSettings(image_batch=256),
    "small": InsertionSettings(),
    "tiny": InsertionSettings(steps=120, warmup=60, executions=1, demonstrations=1),
}
"""full: the batch of spec 001c everywhere; small: a CPU's; tiny: tests"""


def settings(preset: str) -> InsertionSettings:
    """ApprenticeError names the presets that there are."""
    if preset not in PRESETS:
        raise ApprenticeError(f"no insertion preset {preset!r}; known: {', '.join(PRESETS)}")
    return PRESETS[preset]
