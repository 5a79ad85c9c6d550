"""The reset of insertion (spec 001c B27): draws a plug that may be jammed straight up, then brings the tool to the episode's start."""

from __future__ import annotations

import numpy as np

from apprentice_control.kinematics import Kinematics
from apprentice_core.cell import OPERATOR_NEEDED, SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.rotations import matrix_from_rotation_vector, quaternion_to_matrix, rotation_vector
from apprentice_core.scheduler import start_of, start_turn_of
from apprentice_core.spaces import Observation, cartesian_velocity_gripper

STUCK, RISE = 5, 5e-4
"""periods of pulling in which the tool has to rise by so many metres, else it is stuck (ours)"""
WIGGLE = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))


class ToolReset:
    """ActionSource in tool velocity, the gripper left as it is. It asks to end at `metadata["start"]["tool"]` (the home pose where there
    is none), in the home orientation turned by `metadata["start"]["turn"]`, and still, or gives up: then `failure` says why, and the answer
    carries it as its fault.

    The force gate below it bounds the pull. `speed` m/s in free space, `pull` m/s while withdrawing, `wiggle` m/s sideways when stuck,
    `patience` periods for the withdrawal, `tolerance` m of the start (all ours).
    """

    needs_privileged = False
    bundle_id = ""

    def __init__(
        self, profile: RobotProfile, kinematics: Kinematics, period: float = 0.1, speed: float = 0.1, pull: float = 0.05,
        wiggle: float = 0.01, patience: int = 60, tolerance: float = 5e-4, name: str = "reset",
    ):
        self.name, self.period, self.patience, self.tolerance = name, period, patience, tolerance
        self.speed, self.pull, self.wiggle = speed, pull, wiggle
        self.action_space = cartesian_velocity_gripper()
        self._scale = self.action_space.to_si(np.ones(self.action_space.size))[:6]
        home = kinematics.forward(np.array(profile.home))
        self._home, self._home_rotation = home.position, home.rotation
        self._wanted = home.rotation
        self.failure = ""
        self.start = self._home
        self._begin()

    def _begin(self) -> None:
        self._pulled, self._withdrawn, self._wiggles = 0, False, 0
        self._heights: list[float] = []

    def reset(self, context: EpisodeContext) -> None:
        self._begin()
        self.failure = ""
        try:
            given, turn = start_of(context.metadata), start_turn_of(context.metadata)
        except ValueError as error:
            self.failure, given, turn = str(error), None, np.zeros(3)
        self._wanted = matrix_from_rotation_vector(turn) @ self._home_rotation
        self.start = self._home if given is None else given

    def at_start(self, observation: Observation) -> bool:
        """In place, in the start's orientation, and still."""
        tool = observation["tool/pose"].astype(np.float64)
        near = float(np.abs(tool[:3] - self.start).max()) < self.tolerance
        still = float(np.abs(observation["joints/velocity"]).max()) < 0.02
        return near and still and float(np.abs(self._turn(tool)).max()) < 0.02

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        tool = observation["tool/pose"].astype(np.float64)
        if not self.failure and not self._withdrawn:
            linear = self._withdraw(tool)
            turn = np.zeros(3)
        elif not self.failure:
            # Over the start at the height it has, then down: on the straight way there may be the socket.
            aside = float(np.linalg.norm(tool[:2] - self.start[:2]))
            target = np.append(self.start[:2], max(tool[2], self.start[2])) if aside > 0.003 else self.start
            linear, turn = 0.6 / self.period * (target - tool[:3]), 0.6 / self.period * self._turn(tool)
            linear = linear / max(1.0, float(np.abs(linear).max()) / self.speed)
        if self.failure:
            return SourceAction(self.action_space.neutral(), fault=self.failure, request_end=True)
        values = np.append(np.clip(np.concatenate([linear, turn]) / self._scale, -1.0, 1.0), 0.0).astype(np.float32)
        return SourceAction(values, request_end=self._withdrawn and self.at_start(observation))

    def _withdraw(self, tool: np.ndarray) -> np.ndarray:
        """Linear velocity [3] straight up, with a small sideways motion where the plug sticks."""
        self._withdrawn = tool[2] >= self.start[2] - self.tolerance
        if self._withdrawn:
            return np.zeros(3)
        self._pulled += 1
        self._heights = [*self._heights[-STUCK:], float(tool[2])]
        if self._pulled > self.patience:
            lacking = 1000 * (self.start[2] - tool[2])
            self.failure = f"{OPERATOR_NEEDED}the plug is jammed: {lacking:.0f} mm below the start after {self.patience} periods of pulling"
            return np.zeros(3)
        stuck = len(self._heights) > STUCK and self._heights[-1] - self._heights[0] < RISE
        up = min(self.pull, 0.6 / self.period * (self.start[2] - tool[2]) + 0.1 * self.pull)
        if not stuck:
            return np.array([0.0, 0.0, up])
        self._wiggles += 1
        x, y = WIGGLE[self._wiggles % len(WIGGLE)]
        return np.array([self.wiggle * x, self.wiggle * y, up])

    def _turn(self, tool: np.ndarray) -> np.ndarray:
        """Rotation vector [3] from here to the start's orientation, rad."""
        return rotation_vector(self._wanted @ quaternion_to_matrix(tool[3:]).T)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: withdraw again first."""
        self._begin()


class GripCheck:
    """Whether the plug is still held as it was when `remember` looked (B28), by the gripper's opening and, where privileged poses are
    there, by the plug's place in the hand. `width`: m of opening, `slip`: m in the hand (ours)."""

    def __init__(self, profile: RobotProfile, plug: str = "plug", width: float = 0.001, slip: float = 0.002):
        self.plug, self.width, self.slip = plug, width, slip
        self._closed = np.array(profile.gripper.closed)
        self._opening: np.ndarray | None = None
        self._place: np.ndarray | None = None

    def remember(self, observation: Observation, privileged: dict[str, np.ndarray] | None = None) -> None:
        self._opening = observation["gripper/position"].astype(np.float64)
        self._place = self._in_hand(observation, privileged)

    def _in_hand(self, observation: Observation, privileged: dict[str, np.ndarray] | None) -> np.ndarray | None:
        pose = (privileged or {}).get(f"object/{self.plug}/pose")
        if pose is None:
            return None
        tool = observation["tool/pose"].astype(np.float64)
        return quaternion_to_matrix(tool[3:]).T @ (pose[:3].astype(np.float64) - tool[:3])

    def fault(self, observation: Observation, privileged: dict[str, np.ndarray] | None = None) -> str:
        """'' or the reason of a reset that has to call for a person."""
        opening = observation["gripper/position"].astype(np.float64)
        if self._opening is not None:
            moved = float(np.abs(opening - self._opening).max())
            if moved > self.width:
                lost = float(np.abs(opening - self._closed).max()) < self.width
                what = "the plug is lost: the gripper is closed on nothing" if lost else "the plug has slipped"
                return f"{OPERATOR_NEEDED}{what} (a finger is {1000 * moved:.1f} mm from where it held it)"
        place = self._in_hand(observation, privileged)
        if place is not None and self._place is not None and float(np.linalg.norm(place - self._place)) > self.slip:
            slipped = 1000 * float(np.linalg.norm(place - self._place))
            return f"{OPERATOR_NEEDED}the plug has slipped by {slipped:.1f} mm in the hand"
        return ""
