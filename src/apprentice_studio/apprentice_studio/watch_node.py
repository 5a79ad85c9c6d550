"""Looks at a running cell for Studio: takes the newest of its streams a few times a second and hands them over a socket.

A process of its own, which the web server starts (`watch_hub.py`): DDS is never behind a browser or the server's interpreter lock, and
the arm's loop is never behind this, which subscribes best effort and wakes for no message but by its own timer. Cameras and other fast
streams are subscribed to only while somebody watches. It is not niced: the emergency stop goes through here.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from typing import Any

from rclpy.publisher import Publisher

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode, Param, run_node
from apprentice_core.ros_qos import SPINE
from apprentice_core.ros_time import to_time
from apprentice_interfaces.msg import EstopRequest
from apprentice_interfaces.srv import EndEpisode, TakeControl
from apprentice_studio.mailbox import Mailbox
from apprentice_studio.ros_watch_taps import Told, WatchTaps
from apprentice_studio.watch_link import JSON, json_frame, pack, receive_frame

PARAMETERS = (
    Param("link", -1, "file descriptor of the socket to the web server", bounds=(-1, 1 << 20)),
    Param("rate", 20.0, "the streams are looked at so often, Hz", bounds=(1.0, 100.0)),
    Param("camera_rate", 10.0, "pictures of each camera that are forwarded, Hz", bounds=(0.2, 60.0)),
    Param("person", "teleop", "the mux's source of the person who takes over from the page"),
)
AGES = 0.5
"""ages of the streams are told so often, s (ours)"""
DISCOVERY = 1.0
"""cameras and reward sources are looked for so often, s (ours)"""
STOP_WAIT = 2.0
"""arm_node must latch an emergency stop within, s (ours)"""


class WatchNode(ApprenticeNode):
    def __init__(self) -> None:
        super().__init__("watch_node", PARAMETERS)
        s = self.settings
        if s["link"] < 0:
            raise ApprenticeError("watch_node: it is started by `apprentice studio`, which gives it its link")
        self._link = socket.socket(fileno=s["link"])
        self._filled = threading.Event()
        self._box = Mailbox(2000, self._filled.set)
        self._taps = WatchTaps(self, s["camera_rate"], self._tell)
        self._stop_out: Publisher = self.create_publisher(EstopRequest, "estop/request", SPINE)
        self._take = self.create_client(TakeControl, "take_control")
        self._end = self.create_client(EndEpisode, "end_episode")
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stops: list[tuple[int, float]] = []
        self._watched = False
        self.steady_timer(1.0 / s["rate"], self._look)
        self.steady_timer(AGES, self._tell_ages)
        self.steady_timer(DISCOVERY, self._taps.discover)
        self._taps.discover()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    # the socket: two threads that wait on it, so that nothing else does

    def _write(self) -> None:
        while not self.stopping:
            self._filled.wait(0.5)
            self._filled.clear()
            try:
                self._link.sendall(b"".join(map(pack, self._box.take())))
            except OSError:
                self.request_stop()

    def _read(self) -> None:
        while not self.stopping:
            try:
                frame = receive_frame(self._link)
            except (OSError, ValueError):
                frame = None
            if frame is None:  # the server has gone, and nobody is left to look for
                self.request_stop()
                return
            if frame[0] == JSON:
                order = json.loads(frame[1])
                if order["order"] == "estop":
                    # Published from this very thread: a stop waits for no timer.
                    self._publish_stop(order)
                self._orders.put(order)

    def _tell(self, told: Told) -> None:
        if told.key is None:
            self._box.push(told.frame)
        else:
            self._box.put(told.key, told.frame)

    def _answer(self, order_id: int, error: str = "", **more: Any) -> None:
        self._box.push(json_frame({"t": "answer", "id": order_id, "error": error, **more}))

    # orders from the page

    def _publish_stop(self, order: dict[str, Any]) -> None:
        self._stop_out.publish(EstopRequest(stamp=to_time(time.time_ns()), reason=order["reason"], requested_by=order["user"]))

    def _obey(self, order: dict[str, Any]) -> None:
        kind = order["order"]
        if kind == "watched":
            self._watched = bool(order["on"])
            self._taps.watch(self._watched)
        elif kind == "estop":
            self._stops.append((order["id"], time.monotonic()))
        elif kind == "control":
            source = self._taps.person or self.settings["person"]
            self._call(order["id"], self._take, TakeControl.Request(source=source, engage=bool(order["engage"])))
        elif kind == "end_episode":
            self._call(order["id"], self._end, EndEpisode.Request(reason=order["reason"], success=int(order["success"])))

    def _call(self, order_id: int, client: Any, request: Any) -> None:
        if not client.service_is_ready():
            self._answer(order_id, f"no node offers {client.srv_name}")
            return

        def done(future: Any) -> None:
            reply = future.result()
            ok = getattr(reply, "success", None) if hasattr(reply, "success") else reply.ok
            self._answer(order_id, "" if ok else reply.message or "refused")

        client.call_async(request).add_done_callback(done)

    def _confirm_stops(self) -> None:
        """A stop is told as done only when arm_node says that its latch holds."""
        now, waiting = time.monotonic(), []
        for order_id, asked in self._stops:
            if self._taps.stopped:
                self._answer(order_id, latched=True)
            elif now - asked > STOP_WAIT:
                heard = self._stop_out.get_subscription_count()
                why = "arm_node has not latched it" if heard else "no arm_node listens on estop/request"
                self._answer(order_id, f"the emergency stop was sent, but {why}: use the button on the robot")
            else:
                waiting.append((order_id, asked))
        self._stops = waiting

    # timers

    def _look(self) -> None:
        while not self._orders.empty():
            self._obey(self._orders.get())
        self._taps.poll()
        if self._stops:
            self._confirm_stops()

    def _tell_ages(self) -> None:
        self._tell(Told("ages", json_frame({
            "t": "ages", "ages": self._taps.ages(), "unheard": self._taps.unheard(), "pace": self._taps.pace, "dropped": self._box.dropped,
            "arm": self._stop_out.get_subscription_count() > 0,
        })))

    def close(self) -> None:
        self.request_stop()
        self._filled.set()
        with contextlib.suppress(OSError):  # the server may have closed it first
            self._link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2.0)
        self._link.close()


def main() -> None:
    run_node(WatchNode)


if __name__ == "__main__":
    main()
