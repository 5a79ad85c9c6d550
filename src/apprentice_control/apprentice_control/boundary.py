"""The boundary reward of an arm: its home orientation is where the rotation limit counts from."""

from __future__ import annotations

import numpy as np

from apprentice_control.kinematics import Kinematics
from apprentice_core.config import Limits, RobotProfile
from apprentice_core.rewards.boundary import BoundaryReward


def make_boundary(profile: RobotProfile, limits: Limits) -> BoundaryReward:
    """For the effective `limits`, complete as in the profile."""
    return BoundaryReward(limits, Kinematics(profile).forward(np.array(profile.home)).rotation)
