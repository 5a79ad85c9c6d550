"""How long interactive insertion goes on, and how fast its parts take turns (spec 000 sections 2.14 and 8)."""

from __future__ import annotations

from pydantic import Field

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError
from apprentice_learning.online.config import OnlineConfig, load_online_config
from apprentice_learning.rewards.config import RewardTrainConfig

TASK, CELL = "insert_usb_interactive", "sawyer_insertion_velocity"
LEARNER = "td3_sketched"


class InteractiveSettings(Strict):
    """One preset. The learner's own numbers stand in config/online/td3_sketched.yaml."""

    demonstrations: int = Field(100, ge=1, description="paper: collected and sketched before the loop begins")
    episodes: int = Field(2000, ge=1, description="ours: own episodes after which it ends at the latest; 2000 are 8 hours")
    window: int = Field(20, ge=1, description="ours: episodes of the running success rate")
    solved: float = Field(0.95, gt=0, le=1, description="ours: running success rate at which it ends")
    horizon: int = Field(0, ge=0, description="control steps; 0: the task's, paper: 150")
    updates_per_step: float = Field(1.0, gt=0, description="ours: of the policy learner, for each committed step")
    batch: int = Field(192, ge=1, description="ours: transitions")
    prior_batch: int = Field(64, ge=1, description="ours (spec 000 section 8): a quarter of a batch are demonstrations")
    hidden: int = Field(256, ge=1, description="ours (spec 000 section 8): width of the two dense layers")
    noise: float = Field(0.1, ge=0, description="ours: std of the exploration noise")
    reward_steps: int = Field(3000, ge=1, description="ours: updates of the first reward model")
    refit_steps: int = Field(500, ge=1, description="ours: updates of each later one, from the one before")
    refit_sketches: int = Field(10, ge=1, description="ours: new sketches after which the reward model is fitted anew")
    sketch_every: int = Field(2, ge=1, description="ours: the scripted annotator sketches one of so many own episodes, the newest first")
    demo_noise: float = Field(0.15, ge=0, description="ours: std of the demonstrator's action noise on the way to the socket")
    evaluations: int = Field(50, ge=1, description="ours: executions without exploration at the end")

    def online(self, seed: int) -> OnlineConfig:
        """The policy learner's config."""
        fields = load_online_config(LEARNER).model_dump(mode="json")
        fields |= {"seed": seed, "batch": self.batch, "prior_batch": self.prior_batch, "updates_per_step": self.updates_per_step}
        fields["network"] |= {"hidden": [self.hidden, self.hidden]}
        fields["exploration"] |= {"noise": self.noise}
        fields["learner"]["settings"]["cloning_weight"] = 1.0 / self.prior_batch
        return OnlineConfig.model_validate(fields)

    def reward(self, seed: int, first: bool) -> RewardTrainConfig:
        """The reward learner's config: the first model from nothing, later ones from the one before."""
        steps = self.reward_steps if first else self.refit_steps
        return RewardTrainConfig(
            name="interactive", task=TASK, preset="conv3", hidden=(self.hidden, self.hidden), seed=seed, steps=steps, episodes=8, frames=16,
            learning_rate=5e-4, random_shift=2, validate_every=max(1, steps // 10), patience=0, log_every=50,
            checkpoint_every=max(1, steps),
        )


PRESETS = {
    "paper": InteractiveSettings(),
    "small": InteractiveSettings(
        episodes=200, updates_per_step=0.3, batch=32, prior_batch=32, noise=0.05, reward_steps=300, refit_steps=100, evaluations=20,
    ),
    "tiny": InteractiveSettings(
        demonstrations=2, episodes=2, window=2, horizon=6, updates_per_step=0.1, batch=4, prior_batch=2, hidden=16, reward_steps=4,
        refit_steps=2, refit_sketches=1, sketch_every=1, evaluations=1,
    ),
}
"""paper: a GPU and a working day; small: two CPU cores; tiny: tests"""


def settings(preset: str) -> InteractiveSettings:
    """ApprenticeError names the presets that there are."""
    if preset not in PRESETS:
        raise ApprenticeError(f"no preset {preset!r} of interactive insertion; known: {', '.join(PRESETS)}")
    return PRESETS[preset]
