"""Eq. 48: the shaped reward of an oracle that knows where the goal is."""

from __future__ import annotations

from typing import Literal

import numpy as np

from apprentice_core.reward import RewardBatch, RewardResult
from apprentice_core.streams import CONNECTED, TOOL_POSE
from apprentice_core.wrench import force_in_base

GOAL = "position"


class DenseReward:
    """r = -alpha |x - x*|_1 + beta_sign beta / (|x - x*|_2 + eps) - phi f_z, of the state after each transition.

    x: the tool, x*: the commanded goal (goal["position"]), m; f_z: vertical force on the tool in the base frame, N, positive when it
    presses down. Once inserted phi is -phi: pressing on is then rewarded. `inserted_by`: `distance`, x_z within `depth` of x*_z, or the
    `connection` signal; only the latter counts as success. `beta_sign` -1 is as printed, which punishes nearness (spec 001c section 3.3).
    `sensor_in_tool` [3, 3]: urdf.hand. Each term is given on its own as well, so that a curve can tell them apart.
    """

    name = "dense"
    needs_privileged = False

    def __init__(
        self, sensor_in_tool: np.ndarray, alpha: float = 100.0, beta: float = 0.002, phi: float = 0.1, eps: float = 1e-3,
        beta_sign: int = 1, inserted_by: Literal["distance", "connection"] = "distance", depth: float = 0.002,
    ):
        """alpha, beta and phi: paper; eps, beta_sign and depth: ours (spec 001c section 8)."""
        if beta_sign not in (1, -1) or inserted_by not in ("distance", "connection") or not eps > 0:
            raise ValueError("beta_sign is 1 or -1, inserted_by is distance or connection, eps is above 0")
        self.sensor_in_tool, self.alpha, self.beta, self.phi, self.eps = sensor_in_tool, alpha, beta, phi, eps
        self.beta_sign, self.inserted_by, self.depth = beta_sign, inserted_by, depth
        self.inputs = (TOOL_POSE, "wrist/wrench", *((CONNECTED,) if inserted_by == "connection" else ()))
        self.model_id = f"dense/1/{alpha:g}/{beta:g}/{phi:g}/{eps:g}/{beta_sign:+d}/{inserted_by}/{depth:g}"

    def compute_reward(self, batch: RewardBatch) -> dict[str, RewardResult]:
        """KeyError where pose, wrench, goal or signal are lacking; a state that is not finite is not valid."""
        pose = np.asarray(batch.next_observation[TOOL_POSE], dtype=np.float64)
        error = pose[:, :3] - np.asarray(batch.goal[GOAL], dtype=np.float64)
        force = force_in_base(batch.next_observation["wrist/wrench"], pose, self.sensor_in_tool)[:, 2]
        if self.inserted_by == "connection":
            inserted = np.asarray(batch.next_observation[CONNECTED]).reshape(len(error), -1)[:, 0] == 1
            success = inserted
        else:
            inserted = error[:, 2] < self.depth
            success = np.zeros(len(error), dtype=bool)
        distance = -self.alpha * np.abs(error).sum(axis=1)
        near = self.beta_sign * self.beta / (np.linalg.norm(error, axis=1) + self.eps)
        press = -np.where(inserted, -self.phi, self.phi) * force
        valid = np.isfinite(distance + near + press)
        no, unknown = np.zeros(len(error), dtype=bool), np.full(len(error), np.nan)
        terms = {"dense": distance + near + press, "distance": distance, "near": near, "press": press}
        return {n: RewardResult(np.where(valid, v, 0.0).astype(np.float32), unknown, valid, no, success) for n, v in terms.items()}
