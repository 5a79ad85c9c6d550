"""What the control loop measures and arm_node publishes, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ArmSample:
    """Measured state at `stamp` (ns, node time); float64. `pose`: xyz xyzw and `twist` of the tool in the base frame; `wrench`: raw."""

    stamp: int
    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    gripper_position: np.ndarray
    gripper_velocity: np.ndarray
    gripper_effort: np.ndarray
    wrench: np.ndarray
    pose: np.ndarray | None = None
    twist: np.ndarray | None = None


@dataclass(frozen=True)
class SceneSample:
    """Simulation: snapshot for mirror worlds, and the privileged object states; `description` only where it is due. `connected`: the
    simulated contacts of a plug and its socket, None where there are none."""

    stamp: int
    version: int
    joint_positions: np.ndarray
    base_poses: np.ndarray
    objects: Mapping[str, tuple[np.ndarray, np.ndarray]]
    description: str = ""
    connected: bool | None = None
