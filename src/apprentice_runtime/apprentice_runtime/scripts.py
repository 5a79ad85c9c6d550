"""Which scripts a cell offers, and how each is made from its configs."""

from __future__ import annotations

import numpy as np

from apprentice_control.base import CONTROLLERS, ControllerSource, make_controller
from apprentice_control.scripted import ClothExpert, LiftExpert, PickPlaceExpert, PlugExpert, RandomWatcher, StackExpert
from apprentice_core.cell import ActionSource, CellSpec
from apprentice_core.cell_factory import effective_limits
from apprentice_core.config import CellConfig, RobotProfile, TaskConfig
from apprentice_core.errors import ConfigError

COLLECTOR = "collector"
"""the centre line with every fifth action drawn at random (spec 001c section 4.2, C1)"""
NOISY = 0.2
"""paper"""
SCRIPTS = ("lift_expert", "pick_place_expert", "stack_expert", "cloth_expert", "plug_expert", "random_watcher", *CONTROLLERS, COLLECTOR)


def make_script(
    script: str, spec: CellSpec, profile: RobotProfile, cell: CellConfig, task: TaskConfig, name: str = "", noise: float = 0.0,
    noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0,
) -> ActionSource:
    """The script as an ActionSource within the cell's effective limits; ConfigError when the task does not fit it."""
    profile = profile.model_copy(update={"limits": effective_limits(profile, cell, task)})
    period, space, name = spec.timing.control_period, spec.action_space, name or script
    if script == "random_watcher":
        return RandomWatcher(profile, period, space, seed, name=name)
    if script in CONTROLLERS or script == COLLECTOR:
        return _controller(script, spec, profile, name, seed)
    if not task.target:
        raise ConfigError(task.name, "target", f"{script} needs a target object")
    if script == "plug_expert":
        return PlugExpert(profile, space, period, noise=noise, correlation=noise_correlation, seed=seed, name=name)
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


def _controller(script: str, spec: CellSpec, profile: RobotProfile, name: str, seed: int) -> ActionSource:
    space = spec.action_space
    if space.name != "cartesian_displacement":
        raise ConfigError(spec.task, "action", f"{script} moves by displacements, the task's actions are {space.name}")
    controller = make_controller("centre_line" if script == COLLECTOR else script, profile, float(space.to_si(np.ones(3))[0]))
    return ControllerSource(controller, space, name, NOISY if script == COLLECTOR else 0.0, seed)
