"""The simulated connector cell of a method: its rewards, base controller, goal and demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from apprentice_control.base import ControllerSource, make_controller
from apprentice_core.cell import ActionSource, EpisodeRequest, EpisodeSink, ResetRequest
from apprentice_core.config import TaskConfig, load_cell, load_robot, load_task
from apprentice_core.errors import ApprenticeError
from apprentice_core.reward import RewardSource
from apprentice_core.rewards import DenseReward, ElectricalReward, GoalImageReward, capture_goal_image, load_goal_image
from apprentice_core.streams import CONNECTED
from apprentice_core.tasks import ScriptedReward, make_task
from apprentice_core.urdf import hand
from apprentice_sim.scenes import make_scene
from apprentice_sim.sim_cell import SimCell
from apprentice_workflows.insertion.goals import Goal, Point
from apprentice_workflows.insertion.methods import Setting

CELL = "sawyer_insertion"
CAMERA = "side"
BASE, POLICY = "base", "policy"
DRIVER = f"{BASE}+{POLICY}"
REWARDS = {"images": "goal_image/image", "sparse": "electrical/sparse", "dense": "dense/dense"}
"""setting -> the reward that is learned from"""
VERIFIED = "scripted/sparse"
"""success for reports: of the last state, from the true poses and never from the reward that is learned from (spec 001c C34, X13)"""
CAPTURE_TRIES = 5


@dataclass(frozen=True)
class Rig:
    """A connector in the simulated cell. `folder` keeps the goal image, so that all methods of a connector are given the same one."""

    connector: str
    folder: Path

    @property
    def task(self) -> TaskConfig:
        return load_task(f"insert_{self.connector}")

    @property
    def goal(self) -> Point:
        """Tool position with the plug fully in, as a calibration would find it, m."""
        goal = make_scene(load_cell(CELL).scene, self.task).tool_goal
        if goal is None:
            raise ApprenticeError(f"task {self.task.name}: its scene has no place that the plug belongs to")
        x, y, z = goal.tolist()
        return x, y, z

    def open(
        self, setting: Setting, seed: int, sink: EpisodeSink | None = None, sources: Mapping[str, ActionSource] | None = None,
        base: str = "p_controller", task: TaskConfig | None = None,
    ) -> SimCell:
        """The cell with base controller `base` as source `base`, rewarded as `setting` says, and by the true poses beside."""
        task = task or self.task
        rewards: list[RewardSource] = [ScriptedReward(make_task(task))]
        if setting:
            rewards.append(self.reward(setting))
        cell = SimCell(CELL, task, seed, rewards=rewards, sink=sink, cameras=setting == "images")
        space = cell.spec.action_space
        cell.sources[BASE] = ControllerSource(make_controller(base, cell.profile, space.dimensions[0].high), space)
        cell.sources.update(sources or {})
        return cell

    def reward(self, setting: Setting) -> RewardSource:
        if setting == "sparse":
            return ElectricalReward()
        if setting == "dense":
            return DenseReward(hand(load_robot(load_cell(CELL).robot)).rotation)
        path = self.folder / f"goal_{self.connector}.png"
        if not path.is_file():
            self._capture(path)
        return GoalImageReward(load_goal_image(path))

    def _capture(self, path: Path) -> None:
        """As a person would at the robot: the plug is brought in once, and the side camera's picture kept."""
        task = self.task
        task = task.model_copy(update={"scene_options": {**task.scene_options, "scatter": 0.0}})
        cell = SimCell(CELL, task, 0, rewards=[ScriptedReward(make_task(task))])
        try:
            step = cell.spec.action_space.dimensions[0].high
            cell.sources[BASE] = ControllerSource(make_controller("p_controller", cell.profile, step), cell.spec.action_space)
            for attempt in range(CAPTURE_TRIES):
                request = EpisodeRequest(task.name, BASE, ResetRequest(seed=attempt), metadata=Goal(self.goal).metadata())
                cell.run(request)
                if cell.observe()[CONNECTED][0] == 1:
                    capture_goal_image(cell.observe()[f"camera/{CAMERA}"], CAMERA, path)
                    return
        finally:
            cell.close()
        raise ApprenticeError(f"{self.connector}: the plug could not be brought in to take the goal image")
