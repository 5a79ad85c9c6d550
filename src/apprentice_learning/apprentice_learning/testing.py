"""For tests of this and other packages: a point that is pushed to a goal, as a cell whose episodes reach any sink in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from apprentice_core.cell import ActionSource, CellSpec, EpisodeRef, EpisodeRequest, EpisodeSink
from apprentice_core.episode import EpisodeContext, EpisodeOutcome, RewardValue, Segment, StepRecord
from apprentice_core.spaces import ArraySpec, Observation, cartesian_displacement, observation_digest
from apprentice_core.streams import proprio_streams
from apprentice_store.testing import PERIOD, ROBOT, T0, make_spec

STEP = 0.01
"""m that a full action moves the point"""


def point_spec() -> CellSpec:
    """Proprioception alone, and displacements of 1 cm."""
    privileged = (ArraySpec("object/plug/pose", (7,)), ArraySpec("object/plug/twist", (6,)))
    streams, space = proprio_streams(ROBOT), cartesian_displacement(STEP)
    return dataclasses.replace(make_spec(), streams=streams, privileged=privileged, action_space=space)


class PointCell:
    """`run` alone of contract Cell. The tool starts within 5 cm of the goal and moves by base + residual + noise + `bias`, in actions.

    `base`: gain of a proportional controller towards the goal (0: none), which does not know the bias. Reward 'point/dense' is minus the
    distance left, in centimetres; within 2 mm 'point/sparse' is 1 and the episode is terminal. Everything of an episode follows from its
    seed and the source.
    """

    def __init__(
        self, source: ActionSource, sink: EpisodeSink, base: float = 0.0, bias: tuple[float, float, float] = (0.0, 0.0, 0.0),
        horizon: int = 10, terminal: bool = True, on_end: Callable[[int], None] = lambda episodes: None,
    ):
        self.spec, self.source, self.sink, self.base, self.horizon, self.terminal = point_spec(), source, sink, base, horizon, terminal
        self.bias, self.on_end, self.episodes = np.array(bias, np.float32), on_end, 0
        self.goal = np.array([0.5, 0.0, 0.2], np.float32)

    @property
    def base_hash(self) -> str:
        return f"proportional/{self.base}"

    def observation(self, position: np.ndarray) -> Observation:
        out = {a.name: np.zeros(a.shape, np.float32) for a in self.spec.observation}
        out["tool/pose"][:3], out["tool/pose"][6] = position, 1.0
        return out

    def run(self, request: EpisodeRequest) -> EpisodeRef:
        seed = request.reset.seed or 0
        metadata = {"base_hash": self.base_hash, **request.metadata}
        deterministic = bool(metadata.get("deterministic", True))
        context = EpisodeContext(
            f"01POINT{self.episodes:06d}{seed:013d}", "point", seed=seed, source=request.source, horizon=self.horizon,
            deterministic=deterministic, metadata=metadata,
        )
        position = self.goal + np.random.default_rng(seed).uniform(-0.05, 0.05, 3).astype(np.float32)
        segment = Segment(task="point", goal={"position": self.goal})
        self.source.reset(context)
        self.sink.start(context, self.spec)
        outcome, stamp = EpisodeOutcome(False, True, "horizon", False), T0 + self.episodes * 100.0
        for t in range(self.horizon):
            observation = self.observation(position)
            answer = self.source.act(observation, segment, _plug(position) if self.source.needs_privileged else None)
            zero = np.zeros(3, np.float32)
            base = np.clip(self.base * (self.goal - position) / STEP, -1, 1).astype(np.float32)
            noise = zero if answer.noise is None else answer.noise
            mixed = np.clip(base + np.clip(answer.values + noise, -1, 1), -1, 1).astype(np.float32)
            after = (position + STEP * (mixed + self.bias)).astype(np.float32)
            left = float(np.linalg.norm(after - self.goal))
            there = left < 0.002
            ends = there and self.terminal
            self.sink.step(observation, StepRecord(
                step_id=self.episodes * 1000 + t, step=t, stamp=stamp, segment=segment, actor=request.source,
                actions={"source": base, "base": base, "residual": answer.values, "noise": noise, "mixed": mixed, "executed": mixed},
                action_space=self.spec.action_space.name, action_space_hash=self.spec.action_space.hash, discount=0.0 if ends else 1.0,
                rewards={"point/dense": RewardValue(-100 * left), "point/sparse": RewardValue(float(there), terminal=ends, success=there)},
                outcome="applied", reason="", privileged=_plug(position), next_privileged=_plug(after),
                bundle_id=self.source.bundle_id, digest=observation_digest(observation),
            ), stamp)
            position, stamp = after, stamp + PERIOD
            if ends:
                outcome = EpisodeOutcome(True, False, "success", True)
                break
        path = self.sink.end(self.observation(position), outcome, stamp)
        self.episodes += 1
        self.on_end(self.episodes)
        return EpisodeRef(context.episode_id, path, t + 1, bool(outcome.success), outcome.terminated, outcome.truncated, outcome.reason)


def _plug(position: np.ndarray) -> dict[str, np.ndarray]:
    return {"object/plug/pose": np.array([*position, 0, 0, 0, 1], np.float32), "object/plug/twist": np.zeros(6, np.float32)}
