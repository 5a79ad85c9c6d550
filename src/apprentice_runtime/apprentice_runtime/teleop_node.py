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
from apprentice_interfaces.msg import Action, Tick
from apprentice_runtime.teleop_devices import DEVICES, DeviceState, open_device
from apprentice_runtime.teleop_devices.device import DEAD_BAND, HOLD_TO_TAKE_OVER, TakeOver, shape
from apprentice_runtime.teleop_devices.keyboard import HELP

PARAMETERS = (
    Param("device", "keyboard", "input device", choices=DEVICES),
    Param("path", "", "device file (/dev/input/event*, or a terminal); empty: the first that fits, or this terminal"),
    Param("source", "teleop", "name of this source: answers on action/<source>"),
    Param("dead_band", DEAD_BAND, "fraction of full deflection that counts as none", bounds=(0.0, 0.5)),
    Param("hold", HOLD_TO_TAKE_OVER, "input held for so long takes over, s", bounds=(0.0, 2.0)),
    Param("poll_rate", 100.0, "how often the device is read, Hz", bounds=(20.0, 1000.0)),
    Param("pace", "lockstep", "pace of the cell", choices=("lockstep", "realtime")),
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
        self._device = open_device(s["device"], s["path"])
        self._take_over = TakeOver(s["hold"], s["dead_band"])
        self._state = DeviceState()
        self._gripper = 0.0
        self._space: ActionSpace | None = None
        self._answered = self._changes = 0
        self._publisher = self.create_publisher(Action, f"action/{s['source']}", SPINE)
        self.create_subscription(String, "cell_spec", self._on_spec, LATCHED)
        self.create_subscription(Tick, "tick", self._on_tick, SPINE)
        self.steady_timer(1.0 / s["poll_rate"], self._poll)
        self.steady_timer(1.0, self._report)
        self.get_logger().info(f"{self._device.name}: input takes over, the release button hands back")
        if s["device"] == "keyboard" and sys.stderr.isatty():
            print(HELP, file=sys.stderr)

    def _on_spec(self, m: String) -> None:
        try:
            self._space = cell_spec_from_json(m.data)[0].action_space
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _poll(self) -> None:
        now, before = time.monotonic(), self._take_over.engaged
        self._state = self._device.poll(now)
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
        if tick.final or self._space is None:
            return
        received = time.time_ns()
        state = DeviceState(self._state.twist, self._gripper)
        self._gripper = 0.0
        engaged = self._take_over.engaged
        values = to_action(state, self._space, self.settings["dead_band"]) if engaged else self._space.neutral()
        m = Action(
            step_id=tick.step_id, episode_id=tick.episode_id, source=self.settings["source"], action_space=self._space.name,
            action_space_hash=self._space.hash, values=values.tolist(), engaged=engaged,
        )
        m.header.stamp = tick.stamp
        for field in (m.received, m.inference_start, m.inference_end):
            field.sec, field.nanosec = divmod(received, 1_000_000_000)
        self._publisher.publish(m)
        self._answered += 1

    def _report(self) -> None:
        level, message = (2, "device lost") if self._state.lost else (0, "person drives" if self._take_over.engaged else "watching")
        self.diagnose("teleop", level, message, {
            "device": self._device.name, "ticks_answered": self._answered, "changes": self._changes, "spec": self._space is not None,
        })

    def close(self) -> None:
        self._device.close()


def main() -> None:
    run_node(TeleopNode)


if __name__ == "__main__":
    main()
