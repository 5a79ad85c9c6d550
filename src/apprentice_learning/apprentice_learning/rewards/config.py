"""config/rewards/*.yaml, typed: one training run of a reward model."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from apprentice_core.config import Strict, load_task, load_yaml
from apprentice_core.errors import ConfigError
from apprentice_core.paths import config_path
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.rewards.sketch_loss import SketchLossConfig

PRESETS: dict[str, dict[str, Any]] = {"full": {"encoder": "full"}, "small": {"encoder": "tiny"}, "conv3": {"encoder": "conv3"}}
"""which camera encoder; all else is the same"""


class RewardTrainConfig(Strict):
    """Spec 000 section 8's values are the defaults. `cameras` and `proprio` are the task's where empty."""

    name: str = "sketch"
    task: str
    preset: Literal["full", "small", "conv3"] = Field(
        "full", description="full: spec 000 section 8's ResNet; small: ours, for a CPU; conv3: of interactive insertion (section 2.14)"
    )
    cameras: tuple[str, ...] = Field((), description="ours (spec 000 section 8): the same as the agent's")
    proprio: tuple[str, ...] = Field((), description="ours: the same as the agent's")
    hidden: tuple[int, ...] = Field((256, 256), description="ours: layers between features and sigmoid")
    loss: Literal["ranking", "regression"] = Field("ranking", description="paper: ranking; regression (squared error) is for claim Q6")
    margins: SketchLossConfig = SketchLossConfig()
    seed: int = Field(0, ge=0)
    members: int = Field(1, ge=1, le=16, description="ours: size of the ensemble; 3 where delusions are looked for")
    steps: int = Field(100_000, ge=1, description="ours (spec 000 section 8): updates of each member")
    episodes: int = Field(32, ge=1, description="ours (spec 000 section 8): sketches in a batch")
    frames: int = Field(16, ge=2, description="ours (spec 000 section 8): frames of each sketch in a batch")
    learning_rate: float = Field(1e-4, gt=0, description="ours (spec 000 section 8): Adam")
    random_shift: int = Field(4, ge=0, le=16, description="ours (spec 000 section 8): pixels")
    brightness: float = Field(0.1, ge=0, le=1, description="ours: up to so much of the range is added to all pixels of an image")
    contrast: float = Field(0.2, ge=0, lt=1, description="ours: the distance from mid-grey is multiplied by 1 -/+ up to this")
    validation: float = Field(0.1, ge=0, lt=1, description="paper: 10 % of the sketched episodes are held out")
    validation_frames: int = Field(32, ge=2, description="ours: of each held-out sketch, evenly spread")
    validate_every: int = Field(500, ge=1, description="ours")
    patience: int = Field(20, ge=0, description="ours: stop after so many validations without better pair accuracy; 0: never")
    threshold: float = Field(0.85, gt=0, lt=1, description="ours: a prediction above it counts as success in precision and recall")
    log_every: int = Field(100, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)

    @field_validator("task")
    @classmethod
    def _task_names_a_file(cls, task: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", task):
            raise ValueError("letters, digits, '.', '_' and '-' only")
        return task

    def network(self) -> NetworkConfig:
        """The network's description; ConfigError when neither this config nor the task's says what is observed."""
        cameras, proprio = self.cameras, self.proprio
        if not cameras and not proprio:
            task = load_task(self.task)
            cameras, proprio = tuple(f"camera/{c}" for c in task.cameras), task.proprio
        if not cameras and not proprio:
            raise ConfigError(self.name, "cameras", "the reward model reads neither a camera nor a vector")
        return NetworkConfig(cameras=cameras, proprio=proprio, hidden=self.hidden, **PRESETS[self.preset])


def load_reward_config(name: str, **changes: Any) -> RewardTrainConfig:
    """config/rewards/<name>.yaml (or a path) with `changes` laid over it; ConfigError names file and field."""
    from pydantic import ValidationError

    path = config_path("rewards", name)
    fields = {**load_yaml(path, _AnyTask).model_dump(exclude_unset=True), **changes}
    try:
        return RewardTrainConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])), first["msg"]) from error


class _AnyTask(RewardTrainConfig):
    """A file may leave the task open: the command names it."""

    task: str = "any"
