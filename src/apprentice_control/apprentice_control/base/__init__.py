"""Base controllers: fixed laws that a residual is learned on top of, which can also drive alone (spec 001c)."""

from __future__ import annotations

from apprentice_control.base.controller import BaseController, goal_position, tool_position
from apprentice_control.base.proportional import HandController, NullController, PController
from apprentice_control.base.search import CentreLine, Localise, Localised, Pressing, RandomSearch, SpiralSearch, StraightDown
from apprentice_control.base.source import ControllerSource, PolicyController
from apprentice_core.config import RobotProfile
from apprentice_core.errors import ConfigError
from apprentice_core.urdf import hand

__all__ = [
    "CONTROLLERS", "BaseController", "CentreLine", "ControllerSource", "HandController", "Localise", "Localised", "NullController",
    "PController", "PolicyController", "Pressing", "RandomSearch", "SpiralSearch", "StraightDown", "goal_position", "make_controller",
    "tool_position",
]

CONTROLLERS: dict[str, type[BaseController]] = {
    "p_controller": PController, "hand_controller": HandController, "null_controller": NullController, "centre_line": CentreLine,
    "straight_down": StraightDown, "random_search": RandomSearch, "spiral_search": SpiralSearch,
}


def make_controller(
    name: str, profile: RobotProfile, step: float, localise: Localise | None = None, **parameters: object
) -> BaseController:
    """The controller of that name for actions of `step` metres; ConfigError for an unknown one or a wrong parameter.

    `localise`: `centre_line` asks it in every step; before any other controller its move is made first (`Localised`).
    """
    if name not in CONTROLLERS:
        raise ConfigError(name, "controller", f"unknown; known: {', '.join(CONTROLLERS)}")
    kind = CONTROLLERS[name]
    fixed: dict[str, object] = {"sensor_in_tool": hand(profile).rotation} if issubclass(kind, Pressing) else {}
    if kind is CentreLine:
        fixed["localise"] = localise
    try:
        controller = kind(step, **{**fixed, **parameters})  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ConfigError(name, "controller", str(error)) from error
    return controller if localise is None or kind is CentreLine else Localised(step, localise=localise, then=controller)
