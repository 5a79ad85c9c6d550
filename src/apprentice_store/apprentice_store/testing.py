"""For tests of this and other packages: a small cell whose episodes are seeded random numbers, so every bit of them is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice_core.cell import CellSpec
from apprentice_core.cell_spec import GripperJoints, RobotJoints
from apprentice_core.config import CameraConfig, Timing
from apprentice_core.episode import ACTION_KINDS, EpisodeContext, EpisodeOutcome, RewardValue, Segment, StepRecord, new_episode_id
from apprentice_core.spaces import ArraySpec, Observation, cartesian_velocity_gripper, observation_digest
from apprentice_core.streams import CONNECTED, camera_stream, connection_stream, proprio_streams
from apprentice_store.bag_sink import BagSink
from apprentice_store.store import Store

ROBOT = RobotJoints("arm", ("j0", "j1", "j2"), GripperJoints(("left", "right")))
T0 = 1_700_000_000.0
PERIOD = 0.1


def make_spec() -> CellSpec:
    camera = CameraConfig(position=(1, 0, 1), look_at=(0, 0, 0), record=(16, 24))
    depth = CameraConfig(position=(1, 0, 1), look_at=(0, 0, 0), record=(8, 12), depth=True)
    return CellSpec(
        "cell", "arm", "lift",
        (*proprio_streams(ROBOT), connection_stream(), camera_stream("front", camera), camera_stream("depth", depth)),
        (ArraySpec("object/red/pose", (7,)), ArraySpec("object/red/twist", (6,))), cartesian_velocity_gripper(), Timing(), "base", "tool",
    )


@dataclass
class Stage:
    """A stage of the safety chain that changed something."""

    name: str = "cap"
    before: Sequence[float] = (1.0,) * 6
    after: Sequence[float] = (0.0,) * 6
    changed: bool = True
    reason: str = "cap"


@dataclass
class Made:
    """What was put into a bag."""

    episode_id: str
    path: Path
    observations: list[Observation]
    privileged: list[dict[str, np.ndarray]]
    records: list[StepRecord]


def random_observation(spec: CellSpec, rng: np.random.Generator) -> Observation:
    out: Observation = {}
    for a in spec.observation:
        if a.name == CONNECTED:
            out[a.name] = rng.integers(0, 2, a.shape).astype(np.float32)
        elif a.dtype.startswith("uint"):
            out[a.name] = rng.integers(0, np.iinfo(a.dtype).max, a.shape, dtype=a.dtype)
        else:
            out[a.name] = rng.standard_normal(a.shape).astype(np.float32)
    return out


def make_episode(
    store: Store, steps: int = 5, seed: int = 0, task: str = "lift", source: str = "expert", success: bool = True, t0: float = T0,
    metadata: dict | None = None, people: Sequence[int] = (),
) -> Made:
    """`people`: steps at which a person (source `teleop`) intervened."""
    spec, rng = make_spec(), np.random.default_rng(seed)
    sink = BagSink(store, ROBOT)
    episode_id = new_episode_id()
    told = metadata or {"tags": ["made"], "pace": "lockstep"}
    sink.start(EpisodeContext(episode_id, task, seed=seed, source=source, metadata=told), spec)
    observations = [random_observation(spec, rng) for _ in range(steps + 1)]
    privileged = [
        {"object/red/pose": rng.standard_normal(7).astype(np.float32), "object/red/twist": rng.standard_normal(6).astype(np.float32)}
        for _ in range(steps + 1)
    ]
    records = []
    for t in range(steps):
        segment = Segment(index=int(t >= 3), task=task, goal={"position": np.full(3, t >= 3, np.float32)})
        record = StepRecord(
            step_id=1000 + t, step=t, stamp=t0 + t * PERIOD, segment=segment, actor="teleop" if t in people else source,
            intervention=t in people,
            actions={k: rng.uniform(-1, 1, 7).astype(np.float32) for k in ACTION_KINDS}, action_space=spec.action_space.name,
            action_space_hash=spec.action_space.hash, discount=0.0 if t == steps - 1 else 1.0,
            rewards={"scripted/shaped": RewardValue(float(rng.standard_normal())), "scripted/sparse": RewardValue(0.0, valid=t != 1)},
            outcome="applied", reason="", privileged=privileged[t], next_privileged=privileged[t + 1], stages=(Stage(),),
            digest=observation_digest(observations[t]), received=int(t0 * 1e9) + t, applied=int(t0 * 1e9) + t + 7,
        )
        records.append(record)
        sink.step(observations[t], record, t0 + t * PERIOD)
    outcome = EpisodeOutcome(success, not success, "success" if success else "horizon", success)
    path = sink.end(observations[-1], outcome, t0 + steps * PERIOD)
    return Made(episode_id, Path(path), observations, privileged, records)


def child_environment() -> dict[str, str]:
    """For subprocesses of tests: this process's environment, with what it can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
