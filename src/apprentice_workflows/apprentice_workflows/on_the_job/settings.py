"""How large chapter 10 is run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError

STEPS = 20
"""of a trajectory: paper (section 4.6), ours for collection and practice"""


class OnTheJobSettings(Strict):
    """One preset. `models`: the preset of networks, batch and updates in apprentice_learning; 0 updates are that preset's own."""

    trajectories: int = Field(100, ge=1, description="ours (section 6): of each domain")
    size: int = Field(128, ge=16, le=256, description="ours (section 8): side of the image, pixels")
    noisy: float = Field(0.2, ge=0, le=1, description="paper (4.2): probability of a drawn action at collection")
    connectors: tuple[str, ...] = Field((), description="of the family; empty: all of them")
    train_connectors: int = Field(25, ge=1, description="paper (4.3): Table 8 trains on so many")
    test_connectors: int = Field(5, ge=1, description="paper (4.3)")
    models: Literal["full", "small"] = "full"
    batch: int = Field(0, ge=0)
    reward_steps: int = Field(0, ge=0, description="updates of reward model and localiser")
    offline_steps: int = Field(0, ge=0, description="updates of offline RL")
    adv_weight: float = Field(1.0, ge=0, description="ours (4.4): weight of the adversary")
    keep_up: bool = Field(False, description="ours (C13): z_I is normalised, and F_psi takes steps of its own (AdversaryConfig)")
    trials: int = Field(200, ge=1, description="paper (4.5): practice")
    test_trials: int = Field(20, ge=1, description="paper (4.6)")
    copies: int = Field(4, ge=0, description="ours: stored augmentations of a frame")
    reward_seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), description="ours (C40): of Table 8")
    seeds: tuple[int, ...] = Field((0, 1, 2), description="ours: of Tables 5 to 7")

    @property
    def representation(self) -> dict[str, Any]:
        """Fields of RepresentationConfig that lie over the preset's."""
        strong = {"normalise": True, "adversary": {}} if self.keep_up else {}
        return {**strong, **({"adv_weight": self.adv_weight} if self.adv_weight != 1.0 else {})}


PRESETS = {
    "full": OnTheJobSettings(),
    # For a CPU: a collection of ten minutes of one core, 23 minutes an offline run.
    "small": OnTheJobSettings(trajectories=40, size=64, models="small", seeds=(0,)),
    # As `small`, with the adversary of C13: docs/chapter_10.md says what that changes.
    "small_c13": OnTheJobSettings(trajectories=40, size=64, models="small", seeds=(0,), adv_weight=0.3, keep_up=True),
    # To see that it runs, not to quote.
    "tiny": OnTheJobSettings(
        trajectories=3, size=32, connectors=("square_0", "square_1", "slot_0", "megablock_1x1"), train_connectors=2, test_connectors=1,
        models="small", batch=8, reward_steps=4, offline_steps=4, trials=2, test_trials=2, copies=1, reward_seeds=(0,), seeds=(0,),
    ),
}


def settings(preset: str) -> OnTheJobSettings:
    """ApprenticeError names the presets that there are."""
    if preset not in PRESETS:
        raise ApprenticeError(f"no preset {preset!r}; known: {', '.join(PRESETS)}")
    return PRESETS[preset]
