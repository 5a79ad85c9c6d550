"""config/wheels/*.yaml: what a task is to the wheel (spec 000 line 1), and how much of each step is done (presets)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from apprentice_core.config import Strict, TaskConfig, load_task, load_yaml
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.paths import config_path

SketchMode = Literal["demos", "agent", "random_watcher", "delusions", "other_tasks"]
"""where episodes to sketch are drawn from; the modes of Studio's queue (spec 000 line 39)"""


Ablation = Literal["", "task_only", "without_random_watcher", "scalar_critic"]
"""what an agent's training leaves out (spec 000 section 5: claims Q1 to Q3); empty: the full method"""


class Datasets(Strict):
    """Queries over the store (apprentice_store.query). Evaluation episodes stay out of training (ours): they judge it."""

    all: str = Field("kind = 'episode' and not tag = 'evaluate'", description="paper: the whole store")
    on_task: tuple[str, ...] = Field(min_length=1, description="paper: episodes of these tasks are the 25 % of each batch")
    demos: str = Field(description="the task's demonstrations, whoever gave them")

    @property
    def on_task_query(self) -> str:
        tasks = ", ".join(f"'{t}'" for t in self.on_task)
        return f"({self.all}) and task in ({tasks})"


class AgentPlan(Strict):
    """One learner configuration, trained once a seed."""

    config: str = Field(description="config/learning/<name>.yaml")
    seeds: tuple[int, ...] = (0,)
    steps: int = Field(0, ge=0, description="updates; 0: the config's")
    ablation: Ablation = Field("", description="paper: none")

    @property
    def label(self) -> str:
        return f"{Path(self.config).stem}_{self.ablation}" if self.ablation else Path(self.config).stem

    @model_validator(mode="after")
    def _seeds(self) -> AgentPlan:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("an agent needs at least one seed, each once")
        return self


class RewardPlan(Strict):
    """The reward model of a preset."""

    config: str = Field(description="config/rewards/<name>.yaml")
    steps: int = Field(0, ge=0, description="updates; 0: the config's")
    members: int = Field(1, ge=1, le=10, description="ours (spec 000 section 8: 3); their disagreement serves the delusion search")


class Numbers(Strict):
    """How much of each step; every number is ours unless it says otherwise, the paper names few."""

    episode_steps: int = Field(200, ge=10, description="paper: 20 s at 10 Hz")
    demonstrations: int = Field(ge=1, description="A: episodes of the scripted operator")
    failing: float = Field(0.15, ge=0, le=1, description="paper: about 15 % of human demonstrations end in failure, and are kept")
    demo_noise: float = Field(0.2, ge=0, le=1, description="sigma of the operator's noise, in [-1, 1] units")
    random_watcher: int = Field(ge=0, description="B: episodes of the random explorer")
    other_tasks: dict[str, int] = Field(default_factory=dict, description="B: task -> episodes of its own operator, at the same cell")
    first_sketches: dict[SketchMode, int] = Field(description="C, turn 1 (paper: drawn demonstrations, and other tasks' data)")
    later_sketches: dict[SketchMode, int] = Field(description="C, later turns (paper: mostly agents' episodes)")
    reward: RewardPlan = Field(description="D")
    agents: tuple[AgentPlan, ...] = Field(min_length=1, description="E: all on the same labelled set")
    parallel: int = Field(2, ge=1, description="E: training processes at once")
    shortlist: int = Field(1, ge=1, description="F: agents that get a trial, best validation first")
    trial_episodes: int = Field(ge=1, description="F: episodes of each trial")
    agent_episodes: int = Field(ge=0, description="F: episodes that the chosen agent adds to the store")
    exploration_noise: float = Field(0.1, ge=0, description="F: sigma (spec 000 section 8)")
    delusions: int = Field(5, ge=0, description="F: candidates that are sent to the sketch queue")
    evaluation_repeats: int = Field(0, ge=0, description="G: 0: each of a set's ten named starts once (paper); n: n varied starts a set")


class WheelConfig(Strict):
    """config/wheels/<name>.yaml."""

    name: str
    task: str = Field(description="task config: goal text, scene, success, evaluation starts")
    cell: str = Field("sawyer_lift", description="cell config")
    watcher: str = Field("random_watcher", description="task id of the random explorer's episodes at this cell")
    cameras: tuple[str, ...] = Field(description="what the agents and the reward model see")
    proprio: tuple[str, ...] = Field(description="what else they read")
    datasets: Datasets
    evaluation_sets: tuple[str, ...] = ("normal", "hard", "unseen")
    paper: dict[str, float] = Field(default_factory=dict, description="paper: success rate by set, full method")
    presets: dict[str, Numbers]

    @property
    def sketch_task(self) -> str:
        """Task id under which curves are kept."""
        return self.name

    def task_config(self) -> TaskConfig:
        return load_task(self.task)

    def numbers(self, preset: str) -> Numbers:
        """ApprenticeError names the presets that there are."""
        if preset not in self.presets:
            raise ApprenticeError(f"wheel {self.name} has no preset {preset!r}; known: {', '.join(self.presets)}")
        return self.presets[preset]


def load_wheel(name: str) -> WheelConfig:
    """config/wheels/<name>.yaml, or a path; ConfigError when a field is wrong, or disagrees with the task that it names."""
    config = load_yaml(config_path("wheels", name), WheelConfig)
    task = config.task_config()
    read = {"cameras": (config.cameras, (*task.cameras, *task.record_cameras)), "proprio": (config.proprio, task.proprio)}
    for field, (chosen, known) in read.items():
        unknown = [c for c in chosen if c not in known]
        if unknown:
            raise ConfigError(config.name, field, f"task {task.name} does not record {unknown[0]!r}; it records: {', '.join(known)}")
    for group in config.evaluation_sets:
        if group not in task.starts:
            raise ConfigError(config.name, "evaluation_sets", f"task {task.name} has no set {group!r}; it has: {', '.join(task.starts)}")
    if load_task(config.watcher).scene != task.scene:
        raise ConfigError(config.name, "watcher", f"{config.watcher} is not a task of scene {task.scene!r}")
    for preset, numbers in config.presets.items():
        for other in numbers.other_tasks:
            if load_task(other).scene != task.scene:
                raise ConfigError(config.name, f"presets.{preset}.other_tasks", f"{other} is not a task of scene {task.scene!r}")
    return config
