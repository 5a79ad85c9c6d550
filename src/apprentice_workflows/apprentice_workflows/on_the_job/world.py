"""A domain of the family as sources meet it: observations in, actions of 1 cm an axis, trajectories out.

The base frame is the socket's: its floor is the origin. That is the calibrated pose of section 4.2, so a commanded goal is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from apprentice_core.cell import ActionSource
from apprentice_core.episode import EpisodeContext, Segment, new_episode_id
from apprentice_core.errors import ApprenticeError
from apprentice_core.insertion import CONTACT
from apprentice_core.spaces import Observation, cartesian_displacement
from apprentice_learning.representations.dataset import CAMERA
from apprentice_learning.representations.on_the_job import Act, Trial
from apprentice_sim.connectors import find_connector
from apprentice_sim.connectors.floating import STEP, FloatingPlug, FloatingStep
from apprentice_workflows.on_the_job.settings import STEPS
from apprentice_workflows.on_the_job.starts import Offset

SPACE = cartesian_displacement(STEP)
ROBOTS = ("robot_0", "robot_1")
GOAL = {"position": np.zeros(3, dtype=np.float32)}


@dataclass(frozen=True)
class Trajectory:
    """T steps, T + 1 rows of what was seen. frames uint8 [T + 1, S, S, 3]; base, noise, executed float32 [T, 3] in [-1, 1] (noise
    may reach 2); success bool [T + 1] by the calibrated pose; tool [T + 1, 3] m from the socket's floor, as the arm believes; force
    [T + 1, 3] N on the tool by the world."""

    frames: np.ndarray
    base: np.ndarray
    noise: np.ndarray
    executed: np.ndarray
    success: np.ndarray
    tool: np.ndarray
    force: np.ndarray

    @property
    def touched(self) -> bool:
        return bool((np.linalg.norm(self.force, axis=1) > CONTACT).any())

    @property
    def trial(self) -> Trial:
        return Trial(self.frames, self.executed, self.success[1:], self.touched)


class ConnectorWorld:
    """One connector on one of the virtual robots."""

    def __init__(self, connector: str, robot: str = ROBOTS[0], size: int = 64):
        """ConfigError for an unknown connector, ApprenticeError for another robot."""
        if robot not in ROBOTS:
            raise ApprenticeError(f"no robot {robot!r}; known: {', '.join(ROBOTS)}")
        self.connector, self.robot = connector, robot
        self.plug = FloatingPlug(find_connector(connector), ROBOTS.index(robot), size)

    @property
    def background(self) -> str:
        return f"background_{self.plug.look.background}"

    def _observed(self, seen: FloatingStep) -> Observation:
        # What the spring gives the plug, the world gives the spring, once it rests or moves evenly.
        wrench = np.concatenate([-seen.force, np.zeros(3)]).astype(np.float32)
        pose = np.concatenate([self.plug.tip, [0.0, 0.0, 0.0, 1.0]]).astype(np.float32)
        return {CAMERA: seen.image, "tool/pose": pose, "wrist/wrench": wrench}

    def drive(
        self, act: Callable[[Observation], tuple[np.ndarray, np.ndarray]], offset: Offset, seed: int, steps: int = STEPS
    ) -> Trajectory:
        """One trajectory; `act` gives (action, noise on top of it), both [3]; what is executed is their sum, clipped."""
        seen = self.plug.reset(offset, seed)
        rows, actions = [seen], []
        observed = [self._observed(seen)]
        for _ in range(steps):
            base, noise = act(observed[-1])
            executed = np.clip(base + noise, -1.0, 1.0)
            if not np.isfinite(executed).all():
                raise ApprenticeError(f"{self.connector}: an action is not finite")
            actions.append(np.stack([base, noise, executed]))
            rows.append(self.plug.step(executed))
            observed.append(self._observed(rows[-1]))
        parts = np.asarray(actions, dtype=np.float32)
        return Trajectory(
            np.stack([r.image for r in rows]), parts[:, 0], parts[:, 1], parts[:, 2], np.array([r.inserted for r in rows]),
            np.stack([o["tool/pose"][:3] for o in observed]), np.stack([o["wrist/wrench"][:3] for o in observed]),
        )

    def run(self, source: ActionSource, offset: Offset, seed: int, steps: int = STEPS, **metadata: Any) -> Trajectory:
        """A trajectory driven by a source (a controller, a policy's bundle), which is told the calibrated goal."""
        segment = Segment(task=self.connector, goal=GOAL)
        source.reset(EpisodeContext(new_episode_id(), self.connector, seed=seed, source=source.name, horizon=steps, metadata=metadata))

        def act(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
            answer = source.act(observation, segment)
            if answer.fault:
                raise ApprenticeError(f"{source.name}: {answer.fault}")
            return answer.values, np.zeros(3, dtype=np.float32) if answer.noise is None else answer.noise

        return self.drive(act, offset, seed, steps)

    def practise(self, act: Act, offset: Offset, seed: int, steps: int = STEPS) -> Trial:
        """A trial of a policy that sees the image and nothing else."""
        return self.drive(lambda observation: act(observation[CAMERA]), offset, seed, steps).trial

    def close(self) -> None:
        self.plug.close()
