"""What an arm backend gives the ArmLoop: `pybullet`, `sawyer` and `widowx` implement it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass
class ArmState:
    """Measured state, joint order of the profile; float64. `wrench`: raw, on the tool by the world, sensor frame, N and N m."""

    stamp: float
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    gripper_position: np.ndarray
    gripper_velocity: np.ndarray
    gripper_effort: np.ndarray
    wrench: np.ndarray
    wrench_stamp: float


@runtime_checkable
class ArmBackend(Protocol):
    """One arm. `command_*` set what holds until the next call; none of them blocks.

    `capabilities` may hold `scene`, `save_state`, `lockstep` (simulation). A backend with `lockstep` also has
    `advance() -> None`: one physics step of `period` seconds.
    """

    capabilities: frozenset[str]
    period: float

    def read(self) -> ArmState: ...

    def command_torque(self, torque: np.ndarray) -> None: ...

    def command_position(self, position: np.ndarray) -> None: ...

    def command_velocity(self, velocity: np.ndarray, effort: np.ndarray) -> None:
        """rad/s [n], with at most `effort` N m [n] of each motor."""
        ...

    def command_gripper(self, closed: float) -> None:
        """0 open .. 1 closed."""
        ...

    def stop_commanding(self) -> None:
        """Sends nothing from here on (e-stop): the arm's own brakes or hold take over."""
        ...

    def close(self) -> None: ...
