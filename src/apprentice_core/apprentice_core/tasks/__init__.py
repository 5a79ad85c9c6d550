"""Task rewards, success and starts: pure numpy, no simulator, no ROS."""

from __future__ import annotations

from apprentice_core.config import TaskConfig
from apprentice_core.errors import ConfigError
from apprentice_core.tasks.assembly import AssemblyTask
from apprentice_core.tasks.cloth import ClothTask
from apprentice_core.tasks.insertion import InsertionTask
from apprentice_core.tasks.lift import LiftTask
from apprentice_core.tasks.pick_place import PickPlaceTask
from apprentice_core.tasks.scripted_reward import ScriptedReward
from apprentice_core.tasks.stack import StackTask
from apprentice_core.tasks.task import Task, TaskState

TASKS: dict[str, type[Task]] = {
    "assembly": AssemblyTask, "cloth": ClothTask, "insertion": InsertionTask, "lift": LiftTask, "pick_place": PickPlaceTask,
    "stack": StackTask,
}

__all__ = [
    "TASKS", "AssemblyTask", "ClothTask", "InsertionTask", "LiftTask", "PickPlaceTask", "ScriptedReward", "StackTask", "Task", "TaskState",
    "make_task",
]


def make_task(config: TaskConfig) -> Task:
    """The task of a config, by its rule or else its scene; ConfigError when no such task is known."""
    name = config.rule or config.scene
    if name not in TASKS:
        field = "rule" if config.rule else "scene"
        raise ConfigError(config.name, field, f"no task for {field} {name!r}; known: {', '.join(sorted(TASKS))}")
    return TASKS[name](config)
