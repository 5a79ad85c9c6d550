"""Grasps the target block from above and lifts it."""

from __future__ import annotations

import numpy as np

from apprentice_control.scripted.servo import ActionNoise, Servo, episode_rng, tool_axes, wrap
from apprentice_core.cell import SourceAction
from apprentice_core.config import RobotProfile
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation, cartesian_velocity_gripper

HOVER = 0.055
"""pinch point above the grasp while it is not yet over the target, m (ours)"""
FUNNEL = 0.006, 0.08
"""m and rad of error within which the tool may go all the way down (ours)"""
GRASP_BAND = 0.012, 0.022
"""lowest and highest pinch point of a grasp, m above the floor (ours)"""
DROP = 0.015, 0.04
"""how far above the grasp a block that is dropped on purpose is let go, m (ours)"""
STEADY = 0.25, 0.02
"""part of the noise that is left while something is held up, since who holds still trembles less; from so far below the top, m (ours)"""


class GraspPlan:
    """Where to grasp an object that stands on the floor: a function of its pose and the tool's alone, so that it corrects itself."""

    def __init__(self, servo: Servo, lowest: float = 0.0):
        self.servo, self.lowest = servo, lowest

    def height(self, target: np.ndarray) -> float:
        """Height of the pinch point for the grasp, m; not below `lowest`, where the workspace ends."""
        return max(self.lowest, float(np.clip(target[2] - 0.004, *GRASP_BAND)))

    def turn(self, tool: np.ndarray, target: np.ndarray) -> float:
        """Rotation that lines the fingers up with the nearest pair of faces: blocks have one every quarter turn."""
        x, y, z, w = target[3:]
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        return wrap(float(yaw) - self.servo.closing_angle(tool), np.pi / 2)

    def approach(self, tool: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """(position to go to, turn, whether the fingers are where they should close)."""
        turn = self.turn(tool, target)
        aside = float(np.linalg.norm(tool[:2] - target[:2]))
        # The lower the tool, the better it must be aligned: a cone above the block.
        room = max(aside - FUNNEL[0], 0.0) * 1.2 + max(abs(turn) - FUNNEL[1], 0.0) * 0.08
        bottom = self.height(target)
        goal = np.array([target[0], target[1], bottom + min(room, HOVER)])
        ready = tool[2] < bottom + 0.006 and aside < 0.009 and abs(turn) < 0.12
        return goal, turn, ready


class LiftExpert:
    """ActionSource that needs privileged poses. Some 35 to 50 steps at 10 Hz; then it holds the block up.

    `noise`: sigma in [-1, 1] units, `noise_correlation` over one step. `failures`: part of the episodes that fail on purpose: half of
    them miss the block, the others drop it on the way up and give up, as people's do (spec 000 section 2.2: some 15 %).
    """

    needs_privileged = True
    bundle_id = ""

    def __init__(
        self, profile: RobotProfile, target: str, period: float = 0.1, space: ActionSpace | None = None, noise: float = 0.0,
        noise_correlation: float = 0.0, failures: float = 0.0, seed: int = 0, lift: float = 0.08, name: str = "lift_expert",
    ):
        if not 0 <= failures <= 1:
            raise ValueError(f"failures is a part of all episodes, not {failures}")
        self.name, self.target, self.failures, self.seed, self.lift = name, target, failures, seed, lift
        self.action_space = space or cartesian_velocity_gripper()
        self.servo = Servo(self.action_space, tool_axes(profile), period)
        self.plan = GraspPlan(self.servo, profile.limits.workspace.low[2] if profile.limits.workspace else 0.0)
        self.noise = ActionNoise(noise, noise_correlation)
        self._open = np.array(profile.gripper.open)
        self._closed = np.array(profile.gripper.closed)
        self._held_at: np.ndarray | None = None
        self._steps_closed = 0
        self._miss = np.zeros(2)
        self._drop_at: float | None = None
        self._gave_up = False

    def reset(self, context: EpisodeContext) -> None:
        rng = episode_rng(self.seed, context)
        self._held_at, self._steps_closed = None, 0
        angle = rng.uniform(-np.pi, np.pi)
        fails = rng.random() < self.failures
        self._miss, self._drop_at, self._gave_up = np.zeros(2), None, False
        if fails and rng.random() < 0.5:
            self._drop_at = float(rng.uniform(*DROP))
        elif fails:
            self._miss = rng.uniform(0.05, 0.075) * np.array([np.cos(angle), np.sin(angle)])
        self.noise.reset(rng)

    def opening(self, observation: Observation) -> float:
        """Mean opening of the fingers: 0 closed, 1 open."""
        span = self._open - self._closed
        return float(np.mean((observation["gripper/position"] - self._closed) / span))

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        """KeyError naming the array when the target's pose is not among the privileged ones."""
        if privileged is None:
            raise KeyError(f"object/{self.target}/pose")
        tool = observation["tool/pose"].astype(np.float64)
        target = privileged[f"object/{self.target}/pose"].astype(np.float64)
        target[:2] += self._miss
        if self._held_at is not None and self._drop_at is not None:
            self._gave_up = self._gave_up or bool(tool[2] > self._held_at[2] + self._drop_at)
        if self._gave_up and self._held_at is not None:
            values = self.servo.action(tool, self._held_at + np.array([0.0, 0.0, self.lift]), 0.0, -1.0)
        else:
            values = self._hold(observation, tool) if self._held_at is not None else self._approach(tool, target)
        return self._answer(values, tool)

    def _answer(self, values: np.ndarray, tool: np.ndarray) -> SourceAction:
        up = self._held_at is not None and tool[2] > self._held_at[2] + self.lift - STEADY[1]
        return SourceAction(values, self.noise.sample(len(values), STEADY[0] if up else 1.0))

    def _approach(self, tool: np.ndarray, target: np.ndarray) -> np.ndarray:
        goal, turn, ready = self.plan.approach(tool, target)
        if ready:
            self._held_at, self._steps_closed = np.array([target[0], target[1], goal[2]]), 0
            return self.servo.action(tool, self._held_at, 0.0, 1.0)
        return self.servo.action(tool, goal, turn, -1.0)

    def _hold(self, observation: Observation, tool: np.ndarray) -> np.ndarray:
        assert self._held_at is not None
        self._steps_closed += 1
        moving = float(np.abs(observation["gripper/velocity"]).max()) > 0.005
        if self._steps_closed < 2 or (moving and self._steps_closed < 8):
            return self.servo.action(tool, self._held_at, 0.0, 1.0)
        if self.opening(observation) < 0.12 and not self._miss.any():
            self._held_at = None
            return self.servo.action(tool, tool[:3] + np.array([0.0, 0.0, 0.02]), 0.0, -1.0)
        return self.servo.action(tool, self._held_at + np.array([0.0, 0.0, self.lift]), 0.0, 1.0)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: whatever was held may be so no longer."""
        if self._held_at is not None and executed[-1] < 0:
            self._held_at = None
