"""Scripts that drive the arm: experts, the random explorer and the way home. All are ActionSources."""

from __future__ import annotations

from apprentice_control.scripted.cloth_expert import ClothExpert
from apprentice_control.scripted.home_reset import HomeReset
from apprentice_control.scripted.lift_expert import LiftExpert
from apprentice_control.scripted.pick_place_expert import PickPlaceExpert
from apprentice_control.scripted.plug_expert import PlugExpert
from apprentice_control.scripted.random_watcher import RandomWatcher
from apprentice_control.scripted.stack_expert import StackExpert
from apprentice_control.scripted.tool_reset import GripCheck, ToolReset
from apprentice_core.cell import ActionSource
from apprentice_core.config import RobotProfile, TaskConfig
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ActionSpace

__all__ = [
    "ClothExpert", "GripCheck", "HomeReset", "LiftExpert", "PickPlaceExpert", "PlugExpert", "RandomWatcher", "StackExpert", "ToolReset",
    "make_expert",
]


def make_expert(
    profile: RobotProfile, task: TaskConfig, space: ActionSpace, period: float, noise: float = 0.0, noise_correlation: float = 0.0,
    failures: float = 0.0, seed: int = 0, name: str = "expert",
) -> ActionSource:
    """The expert of a task's rule, or else of its scene; ConfigError when there is none."""
    kind = task.rule or task.scene
    if kind == "lift":
        return LiftExpert(profile, task.target, period, space, noise, noise_correlation, failures, seed, name=name)
    if kind == "stack":
        return StackExpert(profile, task.target, "red", period, space, noise, noise_correlation, failures, seed, name=name)
    if kind == "cloth":
        return ClothExpert(profile, task.target, period, space, noise, noise_correlation, failures, seed, name=name)
    if kind == "pick_place":
        place = (task.success["x"], task.success["y"])
        return PickPlaceExpert(profile, task.target, place, period, space, noise, noise_correlation, failures, seed, name=name)
    if kind == "insertion" and space.name == "tool_velocity":
        return PlugExpert(profile, space, period, noise=noise, correlation=noise_correlation, seed=seed, name=name)
    raise ConfigError(task.name, "rule" if task.rule else "scene", f"no expert for {kind!r}")
