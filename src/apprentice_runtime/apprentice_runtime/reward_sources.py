"""The reward sources that a reward node serves, by name, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from apprentice_control.boundary import make_boundary
from apprentice_core.cell import CellSpec
from apprentice_core.cell_factory import effective_limits
from apprentice_core.config import load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.reward import RewardSource
from apprentice_core.rewards import (
    CalibratedReward,
    DenseReward,
    ElectricalReward,
    GoalImageReward,
    load_calibrated_pose,
    load_goal_image,
)
from apprentice_core.tasks import ScriptedReward, make_task
from apprentice_core.urdf import hand

MODELS = {
    "sketch": ("apprentice_learning.rewards.sketch_reward", "SketchReward"),
    "classifier": ("apprentice_learning.rewards.classifier_reward", "ClassifierReward"),
}
"""learned sources; torch takes seconds and 200 MB, so a node of any other source does without"""
REWARD_SOURCES = ("scripted", "boundary", "electrical", "dense", "goal_image", "calibrated", *MODELS)


def make_reward_source(settings: Mapping[str, Any], robot: str) -> RewardSource:
    """The source `settings["source"]` of a reward node's parameters, on a robot of that profile. ApprenticeError says which is wrong."""
    kind = settings["source"]
    if kind in MODELS:
        if not settings["bundle"]:
            raise ApprenticeError(f"parameter bundle: the source {kind} needs the folder of a reward bundle")
        module, name = MODELS[kind]
        return cast(RewardSource, getattr(import_module(module), name)(settings["bundle"]))
    if kind == "boundary":
        profile, cell = load_robot(robot), load_cell(settings["cell"])
        return make_boundary(profile, effective_limits(profile, cell, load_task(settings["task"])))
    if kind == "electrical":
        return ElectricalReward()
    if kind == "dense":
        if settings["beta_sign"] not in (1, -1):
            raise ApprenticeError(f"parameter beta_sign: 1 or -1, not {settings['beta_sign']}")
        return DenseReward(hand(load_robot(robot)).rotation, beta_sign=settings["beta_sign"], inserted_by=settings["inserted_by"])
    if kind == "goal_image":
        if not settings["goal_image"]:
            raise ApprenticeError("parameter goal_image: the source goal_image needs the PNG that capture_goal_image has stored")
        return GoalImageReward(load_goal_image(Path(settings["goal_image"])))
    if kind == "calibrated":
        if not settings["calibration"]:
            raise ApprenticeError("parameter calibration: the source calibrated needs the file that `apprentice calibrate` has written")
        return CalibratedReward(load_calibrated_pose(Path(settings["calibration"])))
    return ScriptedReward(make_task(load_task(settings["task"])))


def inputs_of(source: RewardSource, spec: CellSpec) -> set[str]:
    """Arrays of the observation that the source reads; BundleError when the cell lacks one or gives it another form.

    A scripted reward reads proprioception and privileged poses: images are never decoded for it.
    """
    check = getattr(source, "check", None)
    if check is not None:
        check(spec.observation)
    known = {a.name for a in spec.observation}
    reads = getattr(source, "inputs", None)
    if reads is None:
        return {n for n in known if not n.startswith("camera/")}
    lacking = sorted(set(reads) - known)
    if lacking:
        raise BundleError(f"reward {source.name}: reads {lacking[0]}, which cell {spec.name} does not give")
    return set(reads)
