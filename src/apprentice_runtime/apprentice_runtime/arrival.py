"""Whether a reset has brought the arm where it belongs: home, or to the start that the episode's metadata names, with the plug in hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from apprentice_control.scripted import GripCheck
from apprentice_core.cell import OPERATOR_NEEDED
from apprentice_core.config import RobotProfile
from apprentice_core.scheduler import start_of
from apprentice_core.spaces import Observation

STREAMS = ("joints", "gripper", "tool/pose")
"""what is looked at"""


class Arrival:
    """`home` rad, `start` m and `speed` rad/s are the largest errors. A plug counts as held from the first arrival at a start on."""

    def __init__(self, profile: RobotProfile, home: float, start: float, speed: float):
        self._profile, self._home, self._start, self._speed = profile, home, start, speed
        self._grip = GripCheck(profile)
        self._held = False

    def forget_grip(self) -> None:
        """A person has been at the gripper: how the next reset finds it is how it is held."""
        self._held = False

    def error(self, metadata: Mapping[str, Any], observation: Observation) -> str:
        """'' when the arm is in place and still, else what is wrong; beginning with OPERATOR_NEEDED where no further try can help."""
        start = start_of(metadata)
        if start is None:
            error = np.abs(observation["joints/position"] - np.asarray(self._profile.home, dtype=np.float32))
            if error.max() > self._home:
                return f"{self._profile.arm_joints[int(error.argmax())]} is {error.max():.3f} rad from home"
        elif (off := float(np.abs(observation["tool/pose"][:3] - start).max())) > self._start:
            return f"the tool is {1000 * off:.1f} mm from the episode's start"
        speed = float(np.max(np.abs(observation["joints/velocity"])))
        if speed > self._speed:
            return f"the arm still moves at {speed:.3f} rad/s"
        return "" if start is None else self._held_as_before(observation)

    def _held_as_before(self, observation: Observation) -> str:
        if not self._held:
            self._grip.remember(observation)
            self._held = True
        return self._grip.fault(observation)


def failed_reset(tries: int, error: str, metadata: Mapping[str, Any]) -> str:
    """What a reset that never arrived is reported as: a plug that cannot be drawn is a person's work, an arm that is lost is not."""
    if start_of(metadata) is None:
        return f"the reset did not reach home in {tries} tries: {error}"
    return f"{OPERATOR_NEEDED}the reset did not reach the start in {tries} tries: {error}"
