"""A person at the controls: an action source like any other, which answers every tick and says whether somebody holds the controls."""

from __future__ import annotations

import sys
import time

import numpy as np
from std_msgs.msg import String

from apprentice_core.cell_spec import cell_spec_from_json
from apprentice_core.errors import ConfigError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import LATCHED, SPINE
from apprentice_core.spaces import ActionSpace
from apprentice_interfaces.msg import Action, SafetyEvent, Tick
from apprentice_runtime.ros_vr import VR_PARAMETERS, open_vr
from apprentice_runtime.teleop_devices import DEVICES, DeviceState, TeleopDevice, open_device
from apprentice_runtime.teleop_devices.device import DEAD_BAND, HOLD_TO_TAKE_OVER, TakeOver, shape
from apprentice_runtime.teleop_devices.hand import HandMotion, hand_axes
from apprentice_runtime.teleop_devices.keyboard import HELP

VR = "vr"
"""the device that is heard over ROS"""

PARAMETERS = (
    Param("device", "keyboard", "input device", choices=(*DEVICES, VR)),
    Param("path", "", "device file (/dev/input/event*, or a terminal); empty: the first that fits, or this terminal"),
    Param("source", "teleop", "name of this source: answers on action/<source>"),
    Param("dead_band", DEAD_BAND, "fraction of full deflection that counts as none", bounds=(0.0, 0.5)),
    Param("hold", HOLD_TO_TAKE_OVER, "input held for so long takes over, s", bounds=(0.0, 2.0)),
    Param("poll_rate", 100.0, "how often the device is read, Hz", bounds=(20.0, 1000.0)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
    *VR_PARAMETERS,
)


def to_action(state: DeviceState, space: ActionSpace, dead_band: float) -> np.ndarray:
    """Deflection in the cell's action space, float32 [size]: velocities or displacements by axis, and the gripper where it has one."""
    out = space.neutral()
    twist = shape(state.twist, dead_band)
    motion = [i for i, d in enumerate(space.dimensions) if not d.binary]
    n = min(len(motion), len(twist))
    out[motion[:n]] = twist[:n]
    for i, d in enumerate(space.dimensions):
        if d.binary:
            out[i] = state.gripper
    return out


class TeleopNode(ApprenticeNode):
    """Subscribes tick and cell_spec; publishes action/<source>. Loss of the device hands back and ends the node with exit code 1."""

    def __init__(self) -> None:
        super().__init__("teleop_node", PARAMETERS)
        s = self.settings
        self._hand = HandMotion(s["dead_band"]) if s["device"] == VR else None
        self._device: TeleopDevice = open_vr(self, s) if s["device"] == VR else open_device(s["device"], s["path"])
        self._take_over = TakeOver(s["hold"], s["dead_band"])
        self._state = DeviceState()
        self._gripper = 0.0
        self._space: ActionSpace | None = None
        self._period = 0.0
        self._tick = Tick()
        self._answered = self._changes = self._faults = 0
        self._publisher = self.create_publisher(Action, f"action/{s['source']}", SPINE)
        self._events = self.create_publisher(SafetyEvent, "safety/event", SPINE)
        self.create_subscription(String, "cell_spec", self._on_spec, LATCHED)
        self.create_subscription(Tick, "tick", self._on_tick, SPINE)
        self.steady_timer(1.0 / s["poll_rate"], self._poll)
        self.steady_timer(1.0, self._report)
        self.get_logger().info(f"{self._device.name}: input takes over, the release button hands back")
        if s["device"] == "keyboard" and sys.stderr.isatty():
            print(HELP, file=sys.stderr)

    def _on_spec(self, m: String) -> None:
        try:
            spec = cell_spec_from_json(m.data)[0]
            if self._hand is not None:
                hand_axes(spec.action_space)
            self._space, self._period = spec.action_space, spec.timing.control_period
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _poll(self) -> None:
        now, before = time.monotonic(), self._take_over.engaged
        fault = self._state.fault
        self._state = self._device.poll(now)
        if self._state.fault and not fault:
            self._tell_fault(self._state.fault)
        if self._hand is not None:
            self._hand.add(self._state)
        if self._state.gripper:
            # A press shorter than a control period must not be lost between two ticks.
            self._gripper = self._state.gripper
        if self._take_over.update(self._state, now) != before:
            self._changes += 1
            self.get_logger().info("the person drives" if self._take_over.engaged else "handed back")
        if self._state.lost and not self.stopping:
            self.get_logger().error(f"{self._device.name} is gone")
            self.request_stop(1)

    def _on_tick(self, tick: Tick) -> None:
        self._tick = tick
        if tick.final or self._space is None:
            return
        received = time.time_ns()
        engaged, fault = self._take_over.engaged, self._state.fault
        values = self._space.neutral()
        if engaged and not fault:
            values = to_action(DeviceState(self._state.twist, self._gripper), self._space, self.settings["dead_band"])
            if self._hand is not None:
                values += self._hand.take(self._space, self._period)
        elif self._hand is not None:
            # What the hand did before it had the controls is no wish.
            self._hand.forget()
        self._gripper = 0.0
        m = Action(
            step_id=tick.step_id, episode_id=tick.episode_id, source=self.settings["source"], action_space=self._space.name,
            action_space_hash=self._space.hash, values=values.tolist(), engaged=engaged,
            fault=f"{self._device.name}: {fault}" if engaged and fault else "",
        )
        m.header.stamp = tick.stamp
        for field in (m.received, m.inference_start, m.inference_end):
            field.sec, field.nanosec = divmod(received, 1_000_000_000)
        self._publisher.publish(m)
        self._answered += 1

    def _tell_fault(self, fault: str) -> None:
        self._faults += 1
        message = f"{self._device.name} stands still: {fault}"
        self.get_logger().error(f"{message}; let go of the clutch and press it again")
        at = self._tick
        event = SafetyEvent(
            code="source_fault", stage=f"action/{self.settings['source']}", outcome="clamped", message=message, episode_id=at.episode_id,
            step_id=at.step_id,
        )
        event.header.stamp = at.stamp
        self._events.publish(event)

    def _report(self) -> None:
        level, message = (2, "device lost") if self._state.lost else (0, "person drives" if self._take_over.engaged else "watching")
        if self._state.fault:
            level, message = 2, self._state.fault
        self.diagnose("teleop", level, message, {
            "device": self._device.name, "ticks_answered": self._answered, "changes": self._changes, "spec": self._space is not None,
            "faults": self._faults,
        })

    def close(self) -> None:
        self._device.close()


def main() -> None:
    run_node(TeleopNode)


if __name__ == "__main__":
    main()
