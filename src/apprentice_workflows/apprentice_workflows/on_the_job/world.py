"""A domain of the family as sources meet it: observations in, actions of `STEP` an axis, trajectories out, each an episode where asked.

The base frame is the socket's: its floor is the origin. That is the calibrated pose of section 4.2, so a commanded goal is zero.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apprentice_core.cell import ActionSource, EpisodeSink, SourceAction
from apprentice_core.episode import EpisodeContext, Segment, new_episode_id
from apprentice_core.errors import ApprenticeError
from apprentice_core.mixing import mix
from apprentice_core.reward import RewardSource
from apprentice_core.spaces import Observation, cartesian_displacement
from apprentice_learning.representations.dataset import CAMERA
from apprentice_learning.representations.on_the_job import Act, Trial, touches
from apprentice_learning.representations.preprocessing import fingerprint
from apprentice_sim.connectors import find_connector
from apprentice_sim.connectors.floating import PERIOD, STEP, FloatingPlug, FloatingStep
from apprentice_workflows.on_the_job.recording import Recording, cell_spec
from apprentice_workflows.on_the_job.settings import STEPS
from apprentice_workflows.on_the_job.starts import Offset

SPACE = cartesian_displacement(STEP)
ROBOTS = ("robot_0", "robot_1")
GOAL = {"position": np.zeros(3, dtype=np.float32)}
BETWEEN = 1.0
"""s on the world's clock from one trajectory to the next (ours)"""


@dataclass(frozen=True)
class Trajectory:
    """T steps, T + 1 rows of what was seen. frames uint8 [T + 1, S, S, 3]; base, noise, executed float32 [T, 3] in [-1, 1] (noise
    may reach 2); success bool [T + 1] by the calibrated pose; tool [T + 1, 3] m from the socket's floor, as the arm believes; force
    [T + 1, 3] N on the tool by the world. episode_id: of the committed episode, '' where none was recorded."""

    frames: np.ndarray
    base: np.ndarray
    noise: np.ndarray
    executed: np.ndarray
    success: np.ndarray
    tool: np.ndarray
    force: np.ndarray
    episode_id: str = ""

    @property
    def trial(self) -> Trial:
        return Trial(self.frames, self.executed, self.success[1:], touches(self.force))


class FrameSource:
    """ActionSource of a policy that sees the camera's image and nothing else."""

    needs_privileged = False
    bundle_id = ""

    def __init__(self, act: Act, name: str):
        self.decide, self.name = act, name

    def reset(self, context: EpisodeContext) -> None:
        """A function of the image: nothing is kept between steps."""

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        return SourceAction(*self.decide(observation[CAMERA]))

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Nothing is kept between steps."""


class ConnectorWorld:
    """One connector on one of the virtual robots. Trajectories are drawn by their seeds; only stamps and ids differ from run to run."""

    def __init__(self, connector: str, robot: str = ROBOTS[0], size: int = 64):
        """ConfigError for an unknown connector, ApprenticeError for another robot."""
        if robot not in ROBOTS:
            raise ApprenticeError(f"no robot {robot!r}; known: {', '.join(ROBOTS)}")
        self.connector, self.robot = connector, robot
        self.plug = FloatingPlug(find_connector(connector), ROBOTS.index(robot), size)
        self.spec = cell_spec(connector, robot, size, SPACE, PERIOD)
        self._now = time.time()

    @property
    def background(self) -> str:
        return f"background_{self.plug.look.background}"

    @property
    def facts(self) -> dict[str, Any]:
        """What every episode of this domain says of itself (C3, X18)."""
        return {
            "connector_id": self.connector, "robot_id": self.robot, "background_id": self.background,
            "domain_id": f"{self.connector}@{self.robot}", "preprocessing": fingerprint(),
        }

    def _observed(self, seen: FloatingStep) -> Observation:
        # What the spring gives the plug, the world gives the spring, once it rests or moves evenly.
        wrench = np.concatenate([-seen.force, np.zeros(3)]).astype(np.float32)
        pose = np.concatenate([self.plug.tip, [0.0, 0.0, 0.0, 1.0]]).astype(np.float32)
        return {CAMERA: seen.image, "tool/pose": pose, "wrist/wrench": wrench}

    def _objects(self, seen: FloatingStep) -> dict[str, np.ndarray]:
        plug = np.concatenate([seen.error, self.plug.orientation]).astype(np.float32)
        return {"object/plug/pose": plug, "object/socket/pose": np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)}

    def run(
        self, source: ActionSource, offset: Offset, seed: int, steps: int = STEPS, sink: EpisodeSink | None = None,
        rewards: Sequence[RewardSource] = (), tags: Sequence[str] = (), **metadata: Any,
    ) -> Trajectory:
        """A trajectory driven by a source (a controller, a policy), which is told the calibrated goal. `sink` takes it as an episode, with
        the verdict of the calibrated pose and what `rewards` say of each step. ApprenticeError when the source has a fault: nothing is
        committed then."""
        base_hash = getattr(source, "base_hash", "")
        told = {
            **self.facts, **({"base_hash": base_hash} if base_hash else {}), "start": {"offset": list(offset)}, "reset_mode": "full",
            "pace": "in_process", "tags": list(tags), "horizon": steps, **metadata,
        }
        context = EpisodeContext(new_episode_id(), self.connector, seed=seed, source=source.name, horizon=steps, metadata=told)
        recording = Recording(context, self.spec, sink, rewards)
        with recording:
            return self._drive(source, context, offset, seed, recording)

    def _drive(self, source: ActionSource, context: EpisodeContext, offset: Offset, seed: int, recording: Recording) -> Trajectory:
        segment = Segment(task=self.connector, goal=GOAL)
        seen = self.plug.reset(offset, seed)
        self._now += BETWEEN
        rows, actions = [seen], []
        observed, objects = [self._observed(seen)], self._objects(seen)
        source.reset(context)
        for _ in range(context.horizon):
            received = time.time_ns()
            answer = source.act(observed[-1], segment)
            answered = time.time_ns()
            mixed = mix(answer)
            assert mixed is not None
            if mixed.fault:
                raise ApprenticeError(f"{self.connector}: {source.name}: {mixed.fault}")
            rows.append(self.plug.step(mixed.values))
            actions.append(np.stack([mixed.base, mixed.noise, mixed.values]))
            observed.append(self._observed(rows[-1]))
            after = self._objects(rows[-1])
            recording.step(
                observed[-2:], (objects, after), mixed, segment, self._now, bundle_id=source.bundle_id, inserted=rows[-1].inserted,
                received=received, answered=answered,
            )
            objects = after
            self._now += PERIOD
        recording.end(observed[-1], rows[-1].inserted, self._now)
        parts = np.asarray(actions, dtype=np.float32)
        return Trajectory(
            np.stack([r.image for r in rows]), parts[:, 0], parts[:, 1], parts[:, 2], np.array([r.inserted for r in rows]),
            np.stack([o["tool/pose"][:3] for o in observed]), np.stack([o["wrist/wrench"][:3] for o in observed]), recording.episode_id,
        )

    def close(self) -> None:
        self.plug.close()
