"""This process as an action source: what `RosCell.step` rests on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.cell import CellSpec, StepResult
from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_qos import SPINE
from apprentice_core.spaces import ActionSpace, Observation, observation_digest
from apprentice_core.streams import JointNames
from apprentice_interfaces.msg import Action, Applied, EpisodeEvent, Reward, Tick
from apprentice_runtime.ros_convert import action_to_msg, applied_from_msg, reward_from_msg, tick_from_msg
from apprentice_runtime.ros_source import RETRY, PrivilegedTap
from apprentice_runtime.ros_streams import StreamTaps
from apprentice_runtime.tick import EMPTY, Answer, AppliedAnswer, RewardAnswer, TickPlan

NAME = "external"


@dataclass(frozen=True)
class Current:
    """The tick that waits for an answer, and what is observed at it."""

    plan: TickPlan
    observation: Observation
    privileged: dict[str, np.ndarray]
    received: int


class RosStepper:
    """Made and called back in the cell's thread; `wait` and `step` are called from the user's."""

    def __init__(self, node: ApprenticeNode, spec: CellSpec, robot: JointNames, lockstep: bool, rewards: Sequence[str]):
        self._space: ActionSpace = spec.action_space
        self._lockstep, self._has_objects = lockstep, bool(spec.privileged)
        self._taps = StreamTaps(node, spec.streams, robot, lockstep, carried=True)
        self._privileged = PrivilegedTap(node)
        self._changed = threading.Condition()
        self._plan: tuple[TickPlan, int] | None = None
        self._done: dict[int, AppliedAnswer] = {}
        self._rewards: dict[int, dict[str, RewardAnswer]] = {}
        self._end: EpisodeEvent | None = None
        self._standing_by = False
        self.current: Current | None = None
        self._publisher = node.create_publisher(Action, f"action/{NAME}", SPINE)
        self._hears = [
            node.create_subscription(Tick, "tick", self._on_tick, SPINE),
            node.create_subscription(Applied, "applied", self._on_applied, SPINE),
            node.create_subscription(EpisodeEvent, "episode/event", self._on_event, SPINE),
            *(node.create_subscription(Reward, f"reward/{r}", self._on_reward, SPINE) for r in rewards),
        ]
        self._retry = node.steady_timer(RETRY, self._try)
        self._retry.cancel()

    def meet(self, timeout: float) -> None:
        """Waits until whatever this process listens to has a publisher, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not all(s.get_publisher_count() for s in self._hears):
            time.sleep(0.01)

    def begin(self) -> None:
        with self._changed:
            self._plan, self.current, self._end, self._standing_by = None, None, None, False
            self._done.clear()
            self._rewards.clear()

    def stand_by(self) -> None:
        """Answers what still comes with zero motion: the episode is being left."""
        with self._changed:
            self._standing_by = True
            current = self.current
        if current is not None:
            self._answer(current, self._space.neutral())

    def wait(self, timeout: float) -> bool:
        """True when an observation is there to be answered."""
        with self._changed:
            return self._changed.wait_for(lambda: self.current is not None, timeout)

    def step(self, action: np.ndarray, timeout: float) -> StepResult:
        values, fault = self._space.clean(action)
        with self._changed:
            before = self.current
            if before is None or before.plan.final or self._end is not None:
                raise ApprenticeError("the episode is over; call reset")
        self._answer(before, values, fault)
        with self._changed:
            if not self._changed.wait_for(lambda: self._next(before) is not None, timeout):
                raise ApprenticeError(f"no observation followed the action within {timeout:g} s")
            return self._result(before)

    def _next(self, before: Current) -> Current | None:
        now = self.current
        if now is None or now.plan.step_id == before.plan.step_id or before.plan.step_id not in self._done:
            return None
        answered = set(self._rewards.get(before.plan.step_id, {}))
        return now if set(now.plan.reward_sources) <= answered and (not now.plan.final or self._end is not None) else None

    def _result(self, before: Current) -> StepResult:
        now = self.current
        assert now is not None
        answers = self._rewards.get(before.plan.step_id, {})
        rewards = {f"{source}/{name}": value for source, r in answers.items() for name, value in r.values.items()}
        end, applied = self._end, self._done[before.plan.step_id]
        info = {
            "success": any(r.success for r in answers.values()), "outcome": applied.outcome, "step_id": before.plan.step_id,
            "episode_id": before.plan.episode_id,
        }
        return StepResult(
            now.observation, rewards, bool(end and end.terminated), bool(end and end.truncated), end.reason if end else "",
            applied.executed, now.privileged, info,
        )

    def _answer(self, current: Current, values: np.ndarray, fault: str = "") -> None:
        now, plan = time.time_ns(), current.plan
        self._publisher.publish(action_to_msg(Answer(
            plan.step_id, plan.episode_id, NAME, values, EMPTY, action_space=self._space.name, action_space_hash=self._space.hash,
            fault=fault,
            digest=observation_digest(current.observation), stamp=plan.stamp, received=current.received, inference_start=current.received,
            inference_end=now,
        )))

    def _on_tick(self, message: Tick) -> None:
        plan = tick_from_msg(message)
        if NAME in plan.sources or (self.current is not None and self.current.plan.episode_id == plan.episode_id):
            self._plan = (plan, time.time_ns())
            self._taps.take(plan)
            self._try()

    def _try(self) -> None:
        if self._plan is None:
            self._retry.cancel()
            return
        plan, received = self._plan
        parts = {p.stream: p.stamp for p in plan.parts if p.stamp}
        self._taps.drain()
        privileged = self._privileged.at(plan.stamp, self._lockstep) if self._has_objects else {}
        if self._taps.assembler.lacks(parts) or privileged is None:
            if self._retry.is_canceled():
                self._retry.reset()
            return
        self._retry.cancel()
        self._plan = None
        current = Current(plan, self._taps.assembler.observation(parts), privileged, received)
        with self._changed:
            self.current = current
            self._changed.notify_all()
            standing_by = self._standing_by
        if standing_by and not plan.final:
            self._answer(current, self._space.neutral())

    def _on_applied(self, message: Applied) -> None:
        with self._changed:
            self._done[message.step_id] = applied_from_msg(message)
            self._changed.notify_all()

    def _on_reward(self, message: Reward) -> None:
        with self._changed:
            self._rewards.setdefault(message.step_id, {})[message.source] = reward_from_msg(message)
            self._changed.notify_all()

    def _on_event(self, message: EpisodeEvent) -> None:
        with self._changed:
            if message.event == EpisodeEvent.END and self.current is not None and message.episode_id == self.current.plan.episode_id:
                self._end = message
                self._changed.notify_all()
