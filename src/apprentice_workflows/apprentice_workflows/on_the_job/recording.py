"""Trajectories of the family's world as committed episodes (contract 3, X8), and the stores that they lie in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from apprentice_core.cell import CellSpec, EpisodeSink, StreamSpec
from apprentice_core.cell_spec import GripperJoints, RobotJoints
from apprentice_core.config import Timing
from apprentice_core.episode import EpisodeContext, EpisodeOutcome, RewardValue, Segment, StepRecord
from apprentice_core.mixing import Mixture
from apprentice_core.reward import RewardBatch, RewardSource, reward_values
from apprentice_core.spaces import ActionSpace, ArraySpec, Observation, observation_digest
from apprentice_core.streams import proprio_streams
from apprentice_learning.representations.dataset import CAMERA, SUCCESS
from apprentice_store.bag_sink import BagSink
from apprentice_store.bag_writer import OPEN, TORN
from apprentice_store.store import Store
from apprentice_store.store_check import claim

CALIBRATED = "calibrated_pose"
"""who gave the reward `SUCCESS` (C2): a verdict of the pose, of which no learner reads online"""
NO_JOINTS = ((), GripperJoints(()))
"""the plug hangs on a spring where the arm would be"""


def joints(robot: str) -> RobotJoints:
    return RobotJoints(robot, *NO_JOINTS)


def cell_spec(connector: str, robot: str, size: int, space: ActionSpace, period: float) -> CellSpec:
    """Side camera, tool and wrench; poses of plug and socket as privileged arrays."""
    kept = [s for s in proprio_streams(joints(robot)) if s.name in ("tool/pose", "wrist/wrench")]
    image = ArraySpec(CAMERA, (size, size, 3), "uint8")
    streams = (*kept, StreamSpec(CAMERA, f"{CAMERA}/image/compressed", "sensor_msgs/msg/CompressedImage", (image,)))
    poses = tuple(ArraySpec(f"object/{o}/pose", (7,), unit="m, xyzw") for o in ("plug", "socket"))
    return CellSpec("connectors", robot, connector, streams, poses, space, Timing(control_period=period), "socket", "tool")


class Recording:
    """One trajectory on its way into a sink (None: nowhere). What leaves the `with` block by an error, or before `end`, is not
    committed."""

    def __init__(self, context: EpisodeContext, spec: CellSpec, sink: EpisodeSink | None, rewards: Sequence[RewardSource]):
        self.context, self.spec, self.sink, self.rewards = context, spec, sink, rewards
        self.episode_id = ""
        self._steps = 0

    def __enter__(self) -> Recording:
        if self.sink is not None:
            self.sink.start(self.context, self.spec)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        abort = getattr(self.sink, "abort", None)
        if abort is not None and not self.episode_id:
            abort("interrupted")

    def step(
        self, observed: Sequence[Observation], objects: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], mixed: Mixture,
        segment: Segment, stamp: float, bundle_id: str, inserted: bool, received: int, answered: int,
    ) -> None:
        """A step that has run: `observed` and `objects` before and after it; `received`, `answered`: wall-clock ns of the source."""
        if self.sink is None:
            return
        zero = np.zeros_like(mixed.values)
        space, step = self.spec.action_space, self._steps
        record = StepRecord(
            step_id=step + 1, step=step, stamp=stamp, segment=segment, actor=self.context.source,
            actions={
                "source": mixed.base, "base": zero, "residual": mixed.residual, "noise": mixed.noise, "mixed": mixed.values,
                "executed": mixed.values,
            },
            action_space=space.name, action_space_hash=space.hash, discount=1.0, rewards=self._rewards(observed, mixed.values, inserted),
            outcome="applied", reason="", privileged=objects[0], next_privileged=objects[1], bundle_id=bundle_id,
            digest=observation_digest(observed[0]), received=received, inference_start=received, inference_end=answered, sent=answered,
            applied=time.time_ns(),
        )
        self.sink.step(observed[0], record, stamp)
        self._steps += 1

    def _rewards(self, observed: Sequence[Observation], executed: np.ndarray, inserted: bool) -> dict[str, RewardValue]:
        out = {SUCCESS: RewardValue(float(inserted), success=inserted, model_id=CALIBRATED)}
        before, after = ({k: v[None] for k, v in o.items()} for o in observed)
        batch = RewardBatch(before, executed[None], after, np.array([self._steps]), np.array([self.context.horizon]))
        for source in self.rewards:
            out |= reward_values(source, batch)
        return out

    def end(self, observation: Observation, inserted: bool, stamp: float) -> None:
        """Commits; in at the end is a success, whatever was in between."""
        if self.sink is not None:
            self.sink.end(observation, EpisodeOutcome(False, True, "horizon", inserted), stamp)
            self.episode_id = self.context.episode_id


def open_store(folder: Path) -> Store:
    """The folder's store, fit to go on with after a kill: what was cut off in the middle is put aside as `.torn` (it is drawn again to the
    bit, so nothing of it needs to be recovered), and a bag that was committed just before gets its row. Nothing is deleted."""
    store = Store(folder)
    for torn in sorted(folder.glob(f"*{OPEN}")):
        with claim(torn) as ours:
            if ours:
                torn.rename(torn.with_name(torn.name.removesuffix(OPEN) + TORN))
    known = {r.episode_id for r in store.episodes(hidden=True)}
    for bag in store.bags():
        if bag.name not in known:
            store.commit(bag)
    return store


def bag_sink(store: Store, robot: str) -> BagSink:
    return BagSink(store, joints(robot))
