"""Reward sources without a network (contract 4): the natural rewards of spec 001c chapter B. Learned ones are in apprentice_learning."""

from __future__ import annotations

from apprentice_core.rewards.boundary import BoundaryReward
from apprentice_core.rewards.calibrated_pose import CalibratedReward, calibrate, load_calibrated_pose
from apprentice_core.rewards.dense import DenseReward
from apprentice_core.rewards.electrical import ElectricalReward
from apprentice_core.rewards.goal_image import GoalImage, GoalImageReward, capture_goal_image, load_goal_image

__all__ = [
    "BoundaryReward", "CalibratedReward", "DenseReward", "ElectricalReward", "GoalImage", "GoalImageReward", "calibrate",
    "capture_goal_image", "load_calibrated_pose", "load_goal_image",
]
