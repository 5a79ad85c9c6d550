"""The connection signal: `connected`, from a device that appears, or in simulation from the socket's contacts."""

from __future__ import annotations

import time

from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import SPINE, sensor_publisher
from apprentice_core.ros_time import to_time
from apprentice_core.streams import CONTACT_TOPIC, stamp_ns
from apprentice_interfaces.msg import Connection
from apprentice_perception.connection_sources import ConnectionSource, make_source

PARAMETERS = (
    Param("source", "contact", "contact: simulated, by the arm's world; device: a device file; usb: an enumerated device",
          choices=("contact", "device", "usb")),
    Param("device", "", "device: path of the file; usb: vendor:product in hex"),
    Param("rate", 20.0, "looks per second at a device, Hz", bounds=(1.0, 200.0)),
)


class ConnectionNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("connection_node", PARAMETERS)
        s = self.settings
        self._publisher = self.create_publisher(Connection, "connected", sensor_publisher(max(10.0, s["rate"])))
        self._connected = False
        self._changes = self._told = 0
        self._simulated = s["source"] == "contact"
        if self._simulated:
            self.create_subscription(Connection, CONTACT_TOPIC, self._on_contact, SPINE)
        else:
            source = make_source(s["source"], s["device"])
            self.steady_timer(1.0 / s["rate"], lambda: self._look(source))
        self.steady_timer(1.0, self._report)

    def _on_contact(self, message: Connection) -> None:
        self._tell(message.connected, stamp_ns(message.header.stamp))

    def _look(self, source: ConnectionSource) -> None:
        self._tell(source.connected(), time.time_ns())

    def _tell(self, connected: bool, stamp: int) -> None:
        self._changes += connected != self._connected
        self._connected = connected
        self._told += 1
        message = Connection(connected=connected)
        message.header.stamp = to_time(stamp)
        self._publisher.publish(message)

    def _report(self) -> None:
        lacking = "the simulation tells of no plug and socket" if self._simulated and not self._told else ""
        state = "connected" if self._connected else "open"
        self.diagnose("connection", 1 if lacking else 0, lacking or state, {"changes": self._changes, "published": self._told})


def main() -> None:
    run_node(ConnectionNode)


if __name__ == "__main__":
    main()
