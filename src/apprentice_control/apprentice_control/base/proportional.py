"""Proportional base controllers, and the one that does nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice_control.base.controller import BaseController, goal_position, tool_position
from apprentice_core.episode import Segment
from apprentice_core.spaces import Observation


@dataclass
class NullController(BaseController):
    """Zero: what is learned on it is reinforcement learning alone (A10)."""

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        return np.zeros(3)


@dataclass
class PController(BaseController):
    """Eq. 50: u = -k_p * (x - x*), per axis, capped. From 5 cm above it is within 2 mm after 10 steps (B3)."""

    gain: tuple[float, float, float] = (1.0, 1.0, 0.3)
    """paper"""

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        return -np.array(self.gain) * (tool_position(observation) - goal_position(segment))


@dataclass
class HandController(BaseController):
    """Section 2.4: proportional to the point above the gap, then into it. It knows nothing of how the blocks really stand."""

    gain: float = 1.0
    """released code"""
    above: float = 0.03
    """m over the goal of the point that is gone to first (ours)"""
    aside: float = 0.002
    """m of lateral error within which it goes down (ours)"""

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        goal = goal_position(segment)
        error = tool_position(observation) - goal
        # Already in the gap it presses on: to come out again would be a strategy, and the fixed controller has none.
        entering = float(np.linalg.norm(error[:2])) <= self.aside or error[2] < 0.5 * self.above
        return -self.gain * (error if entering else error - (0.0, 0.0, self.above))
