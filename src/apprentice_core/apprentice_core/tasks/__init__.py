"""Task rewards, success and starts: pure numpy, no simulator, no ROS."""

from __future__ import annotations

from apprentice_core.config import TaskConfig
from apprentice_core.errors import ConfigError
from apprentice_core.tasks.lift import LiftTask
from apprentice_core.tasks.pick_place import PickPlaceTask
from apprentice_core.tasks.scripted_reward import ScriptedReward
from apprentice_core.tasks.task import Task, TaskState

TASKS: dict[str, type[Task]] = {"lift": LiftTask, "pick_place": PickPlaceTask}

__all__ = ["TASKS", "LiftTask", "PickPlaceTask", "ScriptedReward", "Task", "TaskState", "make_task"]


def make_task(config: TaskConfig) -> Task:
    """The task of a config, by its scene; ConfigError when no such task is known."""
    if config.scene not in TASKS:
        raise ConfigError(config.name, "scene", f"no task for scene {config.scene!r}; known: {', '.join(sorted(TASKS))}")
    return TASKS[config.scene](config)
