"""Gymnasium environments over SimCell: `Apprentice/Lift-v0` and `Apprentice/PickPlace-v0` (importing this module registers them)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from apprentice_core.cell import ResetRequest
from apprentice_sim.sim_cell import SimCell


class ApprenticeEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Observation: the cell's named arrays. Action: float32 in [-1, 1]. Reward: `reward` names one of the task's (`sparse` or `shaped`).

    Terminates on success unless `end_on_success` is False; truncates on a safety abort and at the horizon. reset(options={
    "initial_state": "normal/n0"}) takes a named start. info holds `success`, `executed`, every reward, and never object poses.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self, cell: str = "sawyer_lift", task: str = "lift", cameras: str | bool = "agent", reward: str = "sparse",
        end_on_success: bool = True, seed: int = 0, render_mode: str | None = None,
    ):
        self.cell = SimCell(cell, task, seed=seed, cameras=cameras)
        self.reward_name, self.end_on_success, self.render_mode = f"scripted/{reward}", end_on_success, render_mode
        size = self.cell.spec.action_space.size
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        boxes: dict[str, spaces.Space[Any]] = {}
        for array in self.cell.spec.observation:
            kind = np.dtype(array.dtype)
            low, high = (-np.inf, np.inf) if kind.kind == "f" else (0, np.iinfo(kind).max)
            boxes[array.name] = spaces.Box(low, high, array.shape, kind.type)
        self.observation_space = spaces.Dict(boxes)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        start = str((options or {}).get("initial_state", ""))
        result = self.cell.reset(ResetRequest("full", start, int(self.np_random.integers(2**31))))
        if not result.ok:
            raise RuntimeError(f"reset failed: {result.reason}")
        return self.cell.observe(), {"tries": result.tries}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        result = self.cell.step(action)
        terminated = result.terminated or (self.end_on_success and bool(result.info["success"]))
        info = {**result.info, "executed": result.executed, "rewards": result.rewards, "reason": result.reason}
        return result.observation, result.rewards[self.reward_name], terminated, result.truncated and not terminated, info

    def render(self) -> np.ndarray | None:
        """The first camera's picture (rgb_array), drawn now."""
        renderer = self.cell.observer.renderer
        names = [n for n, c in renderer.cameras.items() if not c.depth]
        return renderer.render(names[0]) if self.render_mode == "rgb_array" and names else None

    def close(self) -> None:
        self.cell.close()


gymnasium.register("Apprentice/Lift-v0", entry_point="apprentice_sim.gym_env:ApprenticeEnv", max_episode_steps=200)
gymnasium.register(
    "Apprentice/PickPlace-v0", entry_point="apprentice_sim.gym_env:ApprenticeEnv", max_episode_steps=120,
    kwargs={"cell": "widowx_pick_place", "task": "pick_place"},
)
