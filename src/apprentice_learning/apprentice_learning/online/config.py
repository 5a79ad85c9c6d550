"""config/online/*.yaml, typed."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from apprentice_core.config import Strict, load_yaml
from apprentice_core.paths import config_path
from apprentice_learning.config import BCLearner, D4PGLearner, RunConfig, TD3Learner


class ExplorationConfig(Strict):
    """What is added to the policy's action while data are gathered; nothing is at evaluation."""

    noise: float = Field(0.1, ge=0, description="released code: std of Gaussian noise, normalised units; paper (ch. 7), for IQL: 0.03")
    sample: bool = Field(False, description="draw actions from the policy's own spread (SAC)")


class OnlineConfig(RunConfig):
    """One run that learns while acting."""

    steps: int = Field(ge=1, description="committed steps of the cell after which the run ends; warm-up included")
    phase: str = Field("online", description="which phase of the learner")
    action: Literal["residual", "executed"] = Field(
        "residual", description="paper (algorithm 6): what replay holds; executed: for a learner without a base controller"
    )
    reward: str = Field(description="'<source>/<name>' as recorded with the episode")
    reward_scale: float = Field(1.0, description="ours: no scaling")
    reward_shift: float = Field(0.0, description="ours: no shift")
    prior_batch: int = Field(
        0, ge=0, description="transitions of prior data (demonstrations, offline data) on top of `batch`. paper (ch. 5): 128 on top of 1024"
    )
    capacity: int = Field(1_000_000, ge=2, description="released code: observations in the replay")
    warmup: int = Field(1000, ge=1, description="released code: transitions of uniform random residuals before the first update")
    updates_per_step: float = Field(1.0, gt=0, description="paper (algorithm 6): 1 a committed step, after the warm-up")
    exploration: ExplorationConfig = ExplorationConfig()
    checkpoint_every: int = Field(10, ge=1, description="ours: episodes")
    keep_bundles: int = Field(3, ge=1, description="ours: policy bundles that are kept, so that an actor can still read the last")

    loose: ClassVar[frozenset[str]] = RunConfig.loose | {"keep_bundles"}

    @model_validator(mode="after")
    def _fits_the_learner(self) -> OnlineConfig:
        if isinstance(self.learner, BCLearner | D4PGLearner):
            raise ValueError(f"learner.algorithm: {self.learner.algorithm} does not learn online; use td3, sac or iql")
        if isinstance(self.learner, TD3Learner) and self.learner.settings.cloning_weight and not self.prior_batch:
            raise ValueError("prior_batch: learner.settings.cloning_weight asks for demonstrations in each batch; this is 0")
        return self


def load_online_config(name: str) -> OnlineConfig:
    """config/online/<name>.yaml, or a path; ConfigError names file and field."""
    return load_yaml(config_path("online", name), OnlineConfig)
