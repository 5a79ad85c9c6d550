"""config/learning/*.yaml, typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from apprentice_core.config import Strict, load_yaml
from apprentice_core.paths import config_path
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.bc import BC, BCConfig
from apprentice_learning.algorithms.iql import IQL, IQLConfig
from apprentice_learning.algorithms.learner import Learner
from apprentice_learning.data.view import ViewConfig
from apprentice_learning.networks.observation import NetworkConfig


class BCLearner(Strict):
    """`learner:` of a run that clones behaviour."""

    algorithm: Literal["bc"]
    settings: BCConfig = BCConfig()


class IQLLearner(Strict):
    """`learner:` of a run of implicit Q-learning."""

    algorithm: Literal["iql"]
    settings: IQLConfig = IQLConfig()


class TrainConfig(Strict):
    """One training run."""

    name: str
    seed: int = Field(0, ge=0)
    steps: int = Field(ge=1, description="updates")
    batch: int = Field(256, ge=1, description="released code")
    learner: Annotated[BCLearner | IQLLearner, Field(discriminator="algorithm")]
    phase: str = Field("offline", description="which phase of the learner")
    network: NetworkConfig
    view: ViewConfig
    random_shift: int = Field(0, ge=0, le=16, description="pixels; ours 0, because it blurs where things are (spec 000 section 8 names 4)")
    normaliser_rows: int = Field(20000, ge=1, description="ours: at most so many training rows give mean and spread")
    log_every: int = Field(100, ge=1)
    validate_every: int = Field(500, ge=1)
    validation_rows: int = Field(512, ge=0)
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)


def load_train_config(name: str) -> TrainConfig:
    """config/learning/<name>.yaml, or a path; ConfigError names file and field."""
    return load_yaml(config_path("learning", name), TrainConfig)


def make_learner(config: TrainConfig, specs: Sequence[ArraySpec], actions: int) -> Learner:
    """The learner with fresh networks; the caller seeds torch first."""
    if isinstance(config.learner, BCLearner):
        return BC(specs, actions, config.network, config.learner.settings)
    return IQL(specs, actions, config.network, config.learner.settings)
