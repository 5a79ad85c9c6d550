"""Subscriptions that never wake their executor: who needs their messages takes them, serialised, when it wants them."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_executor import LeanExecutor


def message_class(name: str) -> Any:
    """The class of `package/msg/Name`; ApprenticeError when its package is not in this environment."""
    package, _, kind = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError, ValueError) as error:
        raise ApprenticeError(f"message type {name!r} is not available here: {error}") from error


class PolledGroup(CallbackGroup):
    """While `polled`, entities in it never wake an executor; their owner takes what has come when it wants it."""

    polled = True

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        raise RuntimeError("a polled subscription was executed")


def set_awake(node: Node, group: PolledGroup, awake: bool) -> None:
    """Whether what comes in `group` wakes the node (under LeanExecutor; another executor never sees a PolledGroup)."""
    if group.polled == awake:
        group.polled = not awake
        if isinstance(node.executor, LeanExecutor):
            node.executor.refresh()


def take_raw(subscription: Subscription) -> tuple[bytes, Any] | None:
    """The oldest waiting message, serialised, and its info; None when there is none."""
    with subscription.handle:
        taken: tuple[bytes, Any] | None = subscription.handle.take_message(subscription.msg_type, True)
        return taken
