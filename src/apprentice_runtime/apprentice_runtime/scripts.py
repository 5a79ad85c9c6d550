"""Which scripts a cell offers, and how each is made from its configs."""

from __future__ import annotations

from apprentice_control.scripted import ClothExpert, LiftExpert, PickPlaceExpert, RandomWatcher, StackExpert
from apprentice_core.cell import ActionSource, CellSpec
from apprentice_core.cell_factory import effective_limits
from apprentice_core.config import CellConfig, RobotProfile, TaskConfig
from apprentice_core.errors import ConfigError

SCRIPTS = ("lift_expert", "pick_place_expert", "stack_expert", "cloth_expert", "random_watcher")


def make_script(
    script: str, spec: CellSpec, profile: RobotProfile, cell: CellConfig, task: TaskConfig, name: str = "", noise: float = 0.0,
    noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0,
) -> ActionSource:
    """The script as an ActionSource within the cell's effective limits; ConfigError when the task does not fit it."""
    profile = profile.model_copy(update={"limits": effective_limits(profile, cell, task)})
    period, space, name = spec.timing.control_period, spec.action_space, name or script
    if script == "random_watcher":
        return RandomWatcher(profile, period, space, seed, name=name)
    if not task.target:
        raise ConfigError(task.name, "target", f"{script} needs a target object")
    if script == "lift_expert":
        return LiftExpert(profile, task.target, period, space, noise, noise_correlation, failures, seed, name=name)
    if script == "cloth_expert":
        return ClothExpert(profile, task.target, period, space, noise, noise_correlation, failures, seed, name=name)
    if script == "stack_expert":
        return StackExpert(profile, task.target, "red", period, space, noise, noise_correlation, failures, seed, name=name)
    if script == "pick_place_expert":
        if not {"x", "y"} <= set(task.success):
            raise ConfigError(task.name, "success", "pick_place_expert needs x and y, the middle of the container")
        place = (task.success["x"], task.success["y"])
        return PickPlaceExpert(profile, task.target, place, period, space, noise, noise_correlation, failures, seed, name=name)
    raise ConfigError(script, "script", f"unknown; known: {', '.join(SCRIPTS)}")
