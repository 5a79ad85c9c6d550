"""Alarms about the reward that a running cell learns from: a picture that is right in the wrong place (spec 001c B26), and a learned
reward that praises trials of which none succeeds (C35). It looks at the truth, and nothing learns from what it sees."""

from __future__ import annotations

import time

import numpy as np
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.streams import stamp_ns
from apprentice_interfaces.msg import EpisodeEvent, Reward, SafetyEvent
from apprentice_runtime.reward_watch import ALARM_TOPIC, Finding, RewardWatch, alarm_to_json
from apprentice_runtime.ros_source import PrivilegedTap

PARAMETERS = (
    Param("reward", "electrical", "the reward source that is learned from"),
    Param("verifier", "scripted", "the reward source whose success is believed: scripted (poses), or electrical on a robot"),
    Param("trials", 10, "so many praised trials in a row without a success raise the alarm", bounds=(1, 1000)),
    Param("threshold", 0.5, "probability from which on a trial is praised", bounds=(0.01, 1.0)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)
SETTLE = 0.5
"""s after an episode's end in which its last rewards may still come: topics have no order among each other (ours)"""


class SupervisorNode(ApprenticeNode):
    """Publishes safety/event for each finding, supervisor/alarm (latched: why practice should stop, or empty), and an error in its
    diagnostics until a person calls supervisor/clear."""

    def __init__(self) -> None:
        super().__init__("supervisor_node", PARAMETERS)
        s = self.settings
        self._watch = RewardWatch(s["reward"] == "goal_image", s["trials"], s["threshold"])
        self._lockstep = s["pace"] == "lockstep"
        self._objects = PrivilegedTap(self) if self._watch.images else None
        self._due: float | None = None
        self._standing = ""
        self._events = self.create_publisher(SafetyEvent, "safety/event", SPINE)
        self._alarm = self.create_publisher(String, ALARM_TOPIC, LATCHED)
        self._publish_alarm("")
        self.create_subscription(EpisodeEvent, "episode/event", self._on_event, SPINE)
        self.create_subscription(Reward, f"reward/{s['reward']}", self._on_reward, SPINE)
        self.create_subscription(Reward, f"reward/{s['verifier']}", self._on_verified, SPINE)
        self.create_service(Trigger, "supervisor/clear", self._on_clear)
        self.steady_timer(0.1, self._judge_when_settled)
        self.steady_timer(1.0, self._report)

    def _on_event(self, m: EpisodeEvent) -> None:
        if m.kind == "reset":
            return
        if m.event == EpisodeEvent.START:
            self._judge()
            self._watch.start(m.episode_id)
        elif m.event == EpisodeEvent.END:
            self._due = time.monotonic() + SETTLE

    def _on_reward(self, m: Reward) -> None:
        for value, probability, valid in zip(m.values, m.probabilities, m.valid, strict=True):
            if valid:
                self._watch.rewarded(m.episode_id, float(value), float(probability), self._aside(stamp_ns(m.header.stamp)))
                return

    def _on_verified(self, m: Reward) -> None:
        self._watch.verified(m.episode_id, bool(m.success))

    def _aside(self, stamp: int) -> float:
        """m between plug and socket, across; NaN where the scene has none."""
        objects = (self._objects.at(stamp, self._lockstep) if self._objects else None) or {}
        plug, socket = (objects.get(f"object/{n}/pose") for n in ("plug", "socket"))
        return float("nan") if plug is None or socket is None else float(np.linalg.norm((plug - socket)[:2]))

    def _judge_when_settled(self) -> None:
        if self._due is not None and time.monotonic() >= self._due:
            self._judge()

    def _judge(self) -> None:
        self._due = None
        for finding in self._watch.finish():
            self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        event = SafetyEvent(
            code=finding.code, stage="supervisor_node", outcome="stop" if self._watch.fired else "hold", episode_id=finding.episode_id,
            message=finding.message,
        )
        event.header.stamp = self.get_clock().now().to_msg()
        self._events.publish(event)
        self.get_logger().error(f"{finding.code}: {finding.message}")
        self._standing = finding.message
        if self._watch.fired:
            self._publish_alarm(finding.message)

    def _publish_alarm(self, alarm: str) -> None:
        self._alarm.publish(String(data=alarm_to_json(self.get_fully_qualified_name(), alarm)))

    def _on_clear(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, self._standing or "no alarm stands"
        self._watch.clear()
        self._standing = ""
        self._publish_alarm("")
        return response

    def _report(self) -> None:
        w = self._watch
        self.diagnose("reward", 2 if self._standing else 0, self._standing or "nothing suspicious", {
            "judged": w.judged, "hacks": w.hacks, "praised_in_a_row": w.alarm.praised,
        })


def main() -> None:
    run_node(SupervisorNode)


if __name__ == "__main__":
    main()
