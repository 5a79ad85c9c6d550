"""What the scripts share: proportional motion of the tool in normalised cartesian velocity, and seeded action noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext
from apprentice_core.rotations import quaternion_to_matrix
from apprentice_core.spaces import ActionSpace

DOWN = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class ToolAxes:
    """Which column of the tool's rotation points out of the gripper and along which one its fingers close."""

    approach: int
    closing: int = 1


TOOL_AXES = {"sawyer": ToolAxes(approach=2), "widowx": ToolAxes(approach=0)}


def tool_axes(profile: RobotProfile) -> ToolAxes:
    return TOOL_AXES.get(profile.name, ToolAxes(approach=2))


def wrap(angle: float, period: float) -> float:
    """The same angle modulo `period`, within +- period / 2."""
    return (angle + period / 2) % period - period / 2


class Servo:
    """Drives the tool to a position, a direction of its closing axis about the vertical, and pointing down.

    `gain`: part of the error that one control period removes (ours); what exceeds the action's range is scaled down as a whole,
    so that the tool goes straight.
    """

    def __init__(self, space: ActionSpace, axes: ToolAxes, period: float, gain: float = 0.5):
        self.space, self.axes, self.rate = space, axes, gain / period
        self._scale = space.to_si(np.ones(space.size))[:6]

    def closing_angle(self, tool: np.ndarray) -> float:
        """Angle of the closing axis about base z for a tool pose [7], rad."""
        column = quaternion_to_matrix(tool[3:])[:, self.axes.closing]
        return float(np.arctan2(column[1], column[0]))

    def action(self, tool: np.ndarray, position: np.ndarray, turn: float, gripper: float, towards: np.ndarray = DOWN) -> np.ndarray:
        """float32 [7]: to `position` (m), turning by `turn` (rad about base z), pointing `towards`, gripper -1 open, 1 closed."""
        tilt = np.cross(quaternion_to_matrix(tool[3:])[:, self.axes.approach], towards)
        linear = (np.asarray(position) - tool[:3]) * self.rate / self._scale[:3]
        angular = (tilt + np.array([0.0, 0.0, turn])) * self.rate / self._scale[3:]
        linear /= max(1.0, float(np.abs(linear).max()))
        angular /= max(1.0, float(np.abs(angular).max()))
        return np.concatenate([linear, angular, [gripper]]).astype(np.float32)


class ActionNoise:
    """Gaussian noise on the continuous axes: white for `correlation` 0, else first-order (Ornstein-Uhlenbeck) with the same sigma.

    It goes into SourceAction.noise: the recorded source values stay clean, so that a learner may imitate the correction.
    """

    def __init__(self, sigma: float, correlation: float = 0.0, gripper_axes: int = 1):
        if sigma < 0 or not 0 <= correlation < 1:
            raise ValueError(f"noise needs sigma >= 0 and 0 <= correlation < 1, not {sigma} and {correlation}")
        self.sigma, self.correlation, self._fixed = sigma, correlation, gripper_axes
        self._rng = np.random.default_rng(0)
        self._state: np.ndarray | None = None

    def reset(self, rng: np.random.Generator) -> None:
        self._rng, self._state = rng, None

    def sample(self, size: int, share: float = 1.0) -> np.ndarray | None:
        """float32 [size], `share` of sigma, zero on the gripper; None when sigma is 0."""
        if self.sigma == 0:
            return None
        fresh = self._rng.normal(0.0, self.sigma, size)
        a = self.correlation
        self._state = fresh if self._state is None else a * self._state + np.sqrt(1 - a * a) * fresh
        noise = (share * self._state).astype(np.float32)
        noise[size - self._fixed:] = 0.0
        return noise


def episode_rng(seed: int, context: EpisodeContext) -> np.random.Generator:
    """Random numbers of one episode: by its own seed where it has one, else by its id, and always by the script's."""
    own = context.seed if context.seed is not None else int.from_bytes(context.episode_id.encode()[-8:], "big")
    return np.random.default_rng([seed & 0xFFFFFFFF, own & 0xFFFFFFFFFFFFFFFF])
