"""Answers every tick with the reward of the transition that led to it."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from apprentice_core.cell_spec import CELL_SPEC_TOPIC, cell_spec_from_json
from apprentice_core.config import load_cell
from apprentice_core.errors import BundleError, ConfigError
from apprentice_core.reward import RewardResult, RewardSource
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_polled import PolledGroup, take_raw
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_core.spaces import Observation
from apprentice_interfaces.msg import Applied, Reward, Tick
from apprentice_runtime.reward_sources import REWARD_SOURCES, inputs_of, make_reward_source
from apprentice_runtime.reward_tracker import RewardTracker
from apprentice_runtime.ros_convert import floats, from_floats, tick_from_msg
from apprentice_runtime.ros_source import PATIENCE, RETRY, PrivilegedTap
from apprentice_runtime.ros_streams import StreamTaps
from apprentice_runtime.tick import TickPlan

PARAMETERS = (
    Param("task", "lift", "task config"),
    Param("cell", "sawyer_lift", "cell config: its robot says how the force sensor is mounted"),
    Param("source", "scripted", "which reward source; answers on reward/<source>", choices=REWARD_SOURCES),
    Param("bundle", "", "folder of the reward bundle that the sources sketch and classifier serve"),
    Param("goal_image", "", "PNG of the goal that the source goal_image compares with"),
    Param("calibration", "", "file of the inserted pose that the source calibrated judges by (apprentice calibrate)"),
    Param("beta_sign", 1, "dense: 1 rewards nearness (ours), -1 punishes it (as printed)", bounds=(-1, 1)),
    Param("inserted_by", "distance", "dense: what turns the sign of its force term", choices=("distance", "connection")),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)
YIELD = 0.003
"""lockstep: the action that the same tick asks for goes first, since the world waits for it; rewards have until the next tick, s (ours)"""


class RewardNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("reward_node", PARAMETERS)
        s = self.settings
        self._lockstep = s["pace"] == "lockstep"
        self._source: RewardSource = make_reward_source(s, load_cell(s["cell"]).robot)
        self._tracker: RewardTracker | None = None
        self._taps: StreamTaps | None = None
        self._privileged = PrivilegedTap(self) if self._source.needs_privileged else None
        self._jobs: deque[tuple[TickPlan, float]] = deque(maxlen=100)
        self._answered = self._given_up = 0
        self._problem = ""
        self._publisher: Publisher | None = None
        self._retry = self.steady_timer(RETRY, self._try)
        self._retry.cancel()
        self._later = self.steady_timer(YIELD, self._look)
        self._later.cancel()
        self.create_subscription(String, CELL_SPEC_TOPIC, self._on_spec, LATCHED)
        self.create_subscription(Tick, "tick", self._on_tick, SPINE)
        # Polled: what was carried out is needed by the tick after it.
        self._applied = self.create_subscription(Applied, "applied", lambda _: None, SPINE, raw=True, callback_group=PolledGroup())
        self.steady_timer(1.0, self._report)

    def _on_spec(self, message: String) -> None:
        try:
            spec, robot = cell_spec_from_json(message.data)
        except ConfigError as error:
            self.get_logger().error(str(error))
            return
        if self._taps:
            self._taps.destroy()
        try:
            reads = inputs_of(self._source, spec)
        except BundleError as error:
            self.get_logger().fatal(str(error))
            self.request_stop(2)
            return
        streams = tuple(s for s in spec.streams if any(a.name in reads for a in s.arrays))
        self._taps = StreamTaps(self, streams, robot, self._lockstep, carried=True)
        self._tracker = RewardTracker(self._source, spec.action_space.size)
        # Last: who is seen to publish rewards is asked for them.
        self._publisher = self._publisher or self.create_publisher(Reward, f"reward/{self.settings['source']}", SPINE)

    def _on_tick(self, message: Tick) -> None:
        # In order, each: the next tick may be here before all parts of the last one, and a reward needs both of its observations.
        self._jobs.append((tick_from_msg(message), time.monotonic()))
        if self._lockstep:
            self._later.reset()
        else:
            self._try()

    def _look(self) -> None:
        self._later.cancel()
        self._try()

    def _try(self) -> None:
        while self._tracker is not None and (taken := take_raw(self._applied)) is not None:
            applied = deserialize_message(taken[0], Applied)
            self._tracker.executed(applied.step_id, from_floats(applied.executed))
        while self._jobs and self._taps is not None and self._tracker is not None:
            plan, since = self._jobs[0]
            parts = {p.stream: p.stamp for p in plan.parts if p.stamp and p.stream in self._taps.assembler.streams}
            self._taps.take(plan)
            self._taps.drain()
            privileged = self._privileged.at(plan.stamp, self._lockstep) if self._privileged else None
            incomplete = bool(self._taps.assembler.lacks(parts)) or (self._privileged is not None and privileged is None)
            lost = not self._lockstep and bool(self._taps.lost(parts))
            lacking = (incomplete and not lost) or self._tracker.awaits_action(plan)
            if lacking and time.monotonic() - since <= PATIENCE:
                if self._retry.is_canceled():
                    self._retry.reset()
                return
            self._jobs.popleft()
            if incomplete:
                self._given_up += 1
            else:
                self._judge(plan, self._taps.assembler.observation(parts), privileged)
        self._retry.cancel()

    def _judge(self, plan: TickPlan, observation: Observation, privileged: dict[str, np.ndarray] | None) -> None:
        assert self._tracker is not None
        try:
            given = self._tracker.tick(plan, observation, privileged)
        except (KeyError, ValueError) as error:
            self._problem = f"{type(error).__name__}: {error}"
            return
        if given is not None and self.settings["source"] in plan.reward_sources:
            self._publish(plan, *given)

    def _publish(self, plan: TickPlan, step_id: int, rewards: dict[str, RewardResult]) -> None:
        assert self._publisher is not None
        results = list(rewards.values())
        message = Reward(
            step_id=step_id, episode_id=plan.episode_id, source=self.settings["source"], model_id=self._source.model_id,
            names=list(rewards),
            values=floats(np.array([r.value[0] for r in results])), probabilities=floats(np.array([r.probability[0] for r in results])),
            valid=[bool(r.valid[0]) for r in results], terminal=any(bool(r.terminal[0]) for r in results),
            success=any(bool(r.success[0]) for r in results),
        )
        message.header.stamp = to_time(plan.stamp)
        self._publisher.publish(message)
        self._answered += 1

    def _report(self) -> None:
        level = 1 if self._problem or self._given_up else 0
        self.diagnose("reward", level, self._problem or "ready", {"answered": self._answered, "given_up": self._given_up})


def main() -> None:
    run_node(RewardNode)


if __name__ == "__main__":
    main()
