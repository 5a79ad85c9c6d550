"""Joins the answers of the sources into `action`; a person takes over and hands back at any tick (`Mux` decides, this node carries)."""

from __future__ import annotations

import json
import time

from std_msgs.msg import String

from apprentice_core.cdr import tick_head
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_polled import PolledGroup, take_raw
from apprentice_core.ros_qos import COMMAND, LATCHED, SPINE
from apprentice_core.ros_time import to_time
from apprentice_interfaces.msg import Action, SafetyEvent, Tick
from apprentice_interfaces.srv import TakeControl
from apprentice_runtime.mux import Control, Mux
from apprentice_runtime.ros_convert import action_from_msg, action_to_msg
from apprentice_runtime.scripts import SCRIPTS
from apprentice_runtime.tick import Answer

SOURCES = ["policy", *SCRIPTS, "reset", "residual", "external", "teleop"]
PEOPLE = ["teleop"]

PARAMETERS = (
    Param("sources", SOURCES, "action sources that may drive or take over: each answers on action/<source>"),
    Param("people", PEOPLE, "those of them that are people and may take over"),
    Param("residual_timeout", 1.0, "a residual that is silent for so long after the base's answer counts as zero, s", bounds=(0.001, 10.0)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
)
RETRY = 0.001
"""a tick that an answer has overtaken is looked for so often, s (ours)"""


class MuxNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("mux_node", PARAMETERS)
        s = self.settings
        # In realtime a residual may use a third of a 10 Hz period at most.
        limit = s["residual_timeout"] if s["pace"] == "lockstep" else min(s["residual_timeout"], 0.033)
        self._mux = Mux(tuple(s["people"]), limit)
        self._known: Control | None = None
        self._sent = 0
        self._stamp = 0
        self._publisher = self.create_publisher(Action, "action", COMMAND)
        self._state = self.create_publisher(String, "control/state", LATCHED)
        self._events = self.create_publisher(SafetyEvent, "safety/event", SPINE)
        # Polled: a tick is looked at when it is answered, for until then it asks for nothing here.
        self._ticks = self.create_subscription(Tick, "tick", lambda _: None, SPINE, raw=True, callback_group=PolledGroup())
        for name in s["sources"]:
            self.create_subscription(Action, f"action/{name}", self._on_answer, SPINE)
        self.create_service(TakeControl, "take_control", self._on_take)
        self.steady_timer(max(0.005, limit / 4), self._poll)
        self._retry = self.steady_timer(RETRY, self._poll)
        self._retry.cancel()
        self.steady_timer(1.0, self._report)
        self._tell()

    def _take_ticks(self) -> None:
        while (taken := take_raw(self._ticks)) is not None:
            tick = tick_head(taken[0])
            self._stamp = tick.stamp
            self._mux.tick(tick.step_id, tick.episode_id, tick.sources, tick.final)

    def _on_answer(self, message: Action) -> None:
        self._take_ticks()
        self._send(self._mux.answer(action_from_msg(message), time.monotonic()))
        if self._mux.ahead and self._retry.is_canceled():
            self._retry.reset()

    def _poll(self) -> None:
        self._take_ticks()
        if not self._mux.ahead:
            self._retry.cancel()
        self._send(self._mux.poll(time.monotonic()))

    def _send(self, command: Answer | None) -> None:
        if command is not None:
            self._publisher.publish(action_to_msg(command))
            self._sent += 1
        if self._mux.control != self._known:
            self._tell()

    def _tell(self) -> None:
        control = self._mux.control
        if self._known is not None:
            event = SafetyEvent(
                code="take_over" if control.person else "hand_back", stage="mux", outcome="clamped",
                message=f"{control.person} drives" if control.person else f"{self._known.person} handed back",
            )
            event.header.stamp = to_time(self._stamp)
            self._events.publish(event)
        self._known = control
        self._state.publish(String(data=json.dumps({"person": control.person, "forced": control.forced, "stamp": self._stamp})))

    def _on_take(self, request: TakeControl.Request, response: TakeControl.Response) -> TakeControl.Response:
        response.message = self._mux.take(request.source, request.engage)
        response.success = not response.message
        self._poll()
        return response

    def _report(self) -> None:
        m = self._mux
        self.diagnose("mux", 1 if m.control.person else 0, f"{m.control.person} drives" if m.control.person else "sources drive", {
            "sent": self._sent, "stale_answers": m.stale, "residuals_missing": m.residuals_missing, "faults": m.faults,
        })


def main() -> None:
    run_node(MuxNode)


if __name__ == "__main__":
    main()
