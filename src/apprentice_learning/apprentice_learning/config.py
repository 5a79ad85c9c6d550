"""config/learning/*.yaml, typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from apprentice_core.config import Strict, load_yaml
from apprentice_core.errors import ApprenticeError
from apprentice_core.paths import config_path
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.bc import BC, BCConfig
from apprentice_learning.algorithms.d4pg import D4PG, D4PGConfig
from apprentice_learning.algorithms.iql import IQL, IQLConfig
from apprentice_learning.algorithms.learner import Learner, inputs_of
from apprentice_learning.algorithms.sac import SAC, SACConfig
from apprentice_learning.algorithms.td3 import TD3, TD3Config
from apprentice_learning.data.sampler import Sampler
from apprentice_learning.data.sequences import SequenceSampler
from apprentice_learning.data.view import View, ViewConfig
from apprentice_learning.networks.observation import NetworkConfig


class BCLearner(Strict):
    """`learner:` of a run that clones behaviour."""

    algorithm: Literal["bc"]
    settings: BCConfig = BCConfig()


class IQLLearner(Strict):
    """`learner:` of a run of implicit Q-learning."""

    algorithm: Literal["iql"]
    settings: IQLConfig = IQLConfig()


class D4PGLearner(Strict):
    """`learner:` of a run of recurrent distributional DDPG."""

    algorithm: Literal["d4pg"]
    settings: D4PGConfig = D4PGConfig()


class TD3Learner(Strict):
    """`learner:` of a run of TD3, with or without demonstrations."""

    algorithm: Literal["td3"]
    settings: TD3Config = TD3Config()


class SACLearner(Strict):
    """`learner:` of a run of SAC."""

    algorithm: Literal["sac"]
    settings: SACConfig = SACConfig()


class RunConfig(Strict):
    """What every run has: a learner and its networks, and where its state and numbers go."""

    name: str
    seed: int = Field(0, ge=0)
    batch: int = Field(256, ge=1, description="transitions: released code; sequences of a recurrent learner: 64, ours")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="ours; auto: the GPU where there is one. To the bit only on the CPU")
    threads: int = Field(1, ge=1, description="ours: of torch on the CPU; another number may change the last bits")
    learner: Annotated[BCLearner | IQLLearner | D4PGLearner | TD3Learner | SACLearner, Field(discriminator="algorithm")]
    network: NetworkConfig
    keep_checkpoints: int = Field(2, ge=1)

    loose: ClassVar[frozenset[str]] = frozenset({"steps", "log_every", "checkpoint_every", "keep_checkpoints", "name", "device", "threads"})
    """fields that may change between a run and its resumption"""

    @property
    def hash(self) -> str:
        """Of all that decides the numbers; `steps` may grow between runs, logging and checkpoints do not matter."""
        fields = self.model_dump(mode="json", exclude=set(self.loose))
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


class TrainConfig(RunConfig):
    """One training run on recorded data."""

    steps: int = Field(ge=1, description="updates")
    phase: str = Field("offline", description="which phase of the learner")
    view: ViewConfig
    random_shift: int = Field(0, ge=0, le=16, description="pixels; ours 0, because it blurs where things are (spec 000 section 8 names 4)")
    normaliser_rows: int = Field(20000, ge=1, description="ours: at most so many training rows give mean and spread")
    log_every: int = Field(100, ge=1)
    validate_every: int = Field(500, ge=1)
    validation_rows: int = Field(512, ge=0)
    checkpoint_every: int = Field(1000, ge=1)

    @model_validator(mode="after")
    def _fits_the_learner(self) -> TrainConfig:
        if isinstance(self.learner, D4PGLearner | TD3Learner | SACLearner) and not self.view.reward:
            raise ValueError(f"view.reward: {self.learner.algorithm} learns from a reward; name one as '<source>/<name>'")
        if isinstance(self.learner, D4PGLearner) and self.network.dropout:
            raise ValueError("network.dropout: recurrent networks have none")
        return self


def load_train_config(name: str) -> TrainConfig:
    """config/learning/<name>.yaml, or a path; ConfigError names file and field."""
    return load_yaml(config_path("learning", name), TrainConfig)


def make_learner(config: RunConfig, specs: Sequence[ArraySpec], actions: int) -> Learner:
    """The learner with fresh networks; the caller seeds torch first."""
    if isinstance(config.learner, BCLearner):
        return BC(specs, actions, config.network, config.learner.settings)
    if isinstance(config.learner, D4PGLearner):
        return D4PG(specs, actions, config.network, config.learner.settings)
    if isinstance(config.learner, TD3Learner):
        return TD3(specs, actions, config.network, config.learner.settings)
    if isinstance(config.learner, SACLearner):
        return SAC(specs, actions, config.network, config.learner.settings)
    return IQL(specs, actions, config.network, config.learner.settings)


def make_sampler(config: TrainConfig, view: View, learner: Learner) -> Sampler:
    """Transitions, or sequences for a recurrent learner."""
    inputs, reduction = inputs_of(learner), config.network.image_reduction
    if learner.sequence:
        return SequenceSampler(view, inputs, config.batch, config.seed, learner.sequence, config.random_shift, reduction)
    return Sampler(view, inputs, config.batch, config.seed, learner.needs_next, config.random_shift, reduction)


def make_device(config: RunConfig) -> torch.device:
    """ApprenticeError when a GPU is asked for and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ApprenticeError(f"{config.name}: device: cuda, but torch sees no GPU; use auto or cpu")
    return torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
