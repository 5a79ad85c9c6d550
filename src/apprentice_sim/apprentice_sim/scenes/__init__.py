"""What stands on the floor: fixtures and the placing of objects, one file a scene."""

from __future__ import annotations

from apprentice_core.config import TaskConfig
from apprentice_core.errors import ConfigError
from apprentice_sim.scenes.assembly import AssemblyScene
from apprentice_sim.scenes.cloth import ClothScene
from apprentice_sim.scenes.insertion import InsertionScene
from apprentice_sim.scenes.lift import LiftScene
from apprentice_sim.scenes.pick_place import PickPlaceScene
from apprentice_sim.scenes.scene import Scene

SCENES: dict[str, type[Scene]] = {
    "assembly": AssemblyScene, "cloth": ClothScene, "insertion": InsertionScene, "lift": LiftScene, "pick_place": PickPlaceScene,
}


def make_scene(name: str, task: TaskConfig) -> Scene:
    """ConfigError when the scene is unknown or the task was written for another one."""
    if name not in SCENES:
        raise ConfigError(task.name, "scene", f"no scene named {name!r}; known: {', '.join(sorted(SCENES))}")
    if task.scene != name:
        raise ConfigError(task.name, "scene", f"the task needs scene {task.scene!r}, the cell has {name!r}")
    return SCENES[name](task)
