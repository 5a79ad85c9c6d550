"""Push a block between two that stand, and leave those standing (spec 001c section 2.4)."""

from __future__ import annotations

import numpy as np

from apprentice_core.rotations import quaternion_to_matrix
from apprentice_core.tasks.task import Task, TaskState, pose

SIDES = ("left", "right")


class AssemblyTask(Task):
    """r = -|x_goal - x_block| - lambda (|phi_L| + |phi_R|) - mu (|p_L - p_L0| + |p_R - p_R0|) with tilts phi (spec 001c section 2.4).

    `goal_x`, `goal_y`, `goal_z`: where the held block's lower end belongs, m. Success: each of its axes within `near`, both tilts below
    `tilt` rad, no standing block further than `moved` m from where it stood. `tilt_weight` is lambda (1/rad), `move_weight` mu (1/m).
    """

    success_defaults = {
        "goal_x": 0.60, "goal_y": 0.0, "goal_z": 0.05, "near": 0.005, "tilt": float(np.radians(10.0)), "moved": 0.01,
        "tilt_weight": 1.0, "move_weight": 1.0,
    }

    @property
    def objects(self) -> tuple[str, ...]:
        return (self.config.target, *SIDES)

    def error(self, state: TaskState) -> np.ndarray:
        """Held block's lower end minus its goal, [N, 3] m."""
        goal = np.array([self.limits["goal_x"], self.limits["goal_y"], self.limits["goal_z"]])
        return pose(state.privileged, self.config.target)[:, :3] - goal

    def tilts(self, state: TaskState) -> np.ndarray:
        """Angle of each standing block's axis from the vertical, rad, [N, 2]."""
        up = [np.array([quaternion_to_matrix(q)[2, 2] for q in pose(state.privileged, name)[:, 3:]]) for name in SIDES]
        return np.arccos(np.clip(np.stack(up, axis=1), -1.0, 1.0))

    def moves(self, state: TaskState) -> np.ndarray:
        """How far each standing block is from where it stood, m, [N, 2]."""
        return np.stack([np.linalg.norm(pose(state.privileged, n)[:, :3] - pose(state.first, n)[:, :3], axis=1) for n in SIDES], axis=1)

    def geometry(self, state: TaskState) -> np.ndarray:
        """f of eq. 44: the term of the robot's geometry, [N]."""
        return -np.linalg.norm(self.error(state), axis=1)

    def upright(self, state: TaskState) -> np.ndarray:
        """The part of g of eq. 44 that is about tilting, [N]."""
        return -self.limits["tilt_weight"] * self.tilts(state).sum(axis=1)

    def in_place(self, state: TaskState) -> np.ndarray:
        """The part of g of eq. 44 that is about moving, [N]."""
        return -self.limits["move_weight"] * self.moves(state).sum(axis=1)

    def terms(self, state: TaskState) -> dict[str, np.ndarray]:
        geometry, upright, in_place = self.geometry(state), self.upright(state), self.in_place(state)
        return {"geometry": geometry, "upright": upright, "in_place": in_place, "assembly": geometry + upright + in_place}

    def success(self, state: TaskState) -> np.ndarray:
        inside = (np.abs(self.error(state)) < self.limits["near"]).all(axis=1)
        return inside & (self.tilts(state) < self.limits["tilt"]).all(axis=1) & (self.moves(state) < self.limits["moved"]).all(axis=1)

    def shaped(self, state: TaskState) -> np.ndarray:
        """exp of the reward, 0.95 of it without success: grows to 1 (ours)."""
        total = self.terms(state)["assembly"]
        return np.where(self.success(state), 1.0, 0.95 * np.exp(np.minimum(total, 0.0) * 3.0))
