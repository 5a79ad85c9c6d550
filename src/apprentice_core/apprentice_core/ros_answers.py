"""Answers of services that reach a client which is only just being discovered.

Discovery goes endpoint by endpoint: a client may have found the service, and asked, before the service has found where the client
listens. The middleware then waits 0.1 s, drops the answer and warns, and the client waits for ever.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.service import Service
from rclpy.timer import Timer

AGAIN = 0.2
"""an answer that could not be sent is sent again so often, s (ours)"""
GIVE_UP = 20.0
"""who cannot be reached for so long is gone, s (ours)"""


def answer_patiently(node: Node, service: Service) -> None:
    """Every answer of `service` is sent until its client is there, from a timer of `node`; after GIVE_UP seconds the log says so."""
    # The module narrows it to services: an action's server would take the error for its own.
    warnings.filterwarnings("error", "failed to send response", RuntimeWarning, module=r"rclpy\.service")
    send = service.send_response

    def sent(response: Any, header: Any) -> bool:
        try:
            send(response, header)
        except RuntimeWarning:
            return False
        except SystemError as error:
            # rclpy returns as if nothing had been raised, which Python reports as this, with the warning as its cause.
            if not isinstance(error.__cause__, RuntimeWarning):
                raise
            return False
        return True

    def answer(response: Any, header: Any) -> None:
        if sent(response, header):
            return
        deadline, timers = time.monotonic() + GIVE_UP, list[Timer]()

        def again() -> None:
            late = time.monotonic() > deadline
            if late or sent(response, header):
                node.destroy_timer(timers.pop())
            if late:
                node.get_logger().error(f"{service.srv_name}: who asked could not be answered within {GIVE_UP:g} s")

        timers.append(node.create_timer(AGAIN, again, clock=Clock(clock_type=ClockType.STEADY_TIME)))

    service.send_response = answer  # type: ignore[method-assign]
