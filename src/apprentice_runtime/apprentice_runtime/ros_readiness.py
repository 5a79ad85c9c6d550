"""Is everybody there that an episode needs? Asked of the graph before an episode, never per tick."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import String

from apprentice_core.cell_spec import CELL_SPEC_TOPIC
from apprentice_core.ros_node import MATCHED_TOPIC
from apprentice_core.ros_qos import STATIC
from apprentice_runtime.episode_machine import Goal


class Readiness:
    """`lacks` says in words who is missing or does not yet hear whom; `newcomers` is True after a call that met some."""

    def __init__(self, node: Node, rewards: Sequence[str], reset_source: str):
        self._node, self._rewards, self._reset_source = node, tuple(rewards), reset_source
        self._met: frozenset[bytes] = frozenset()
        self._matched: dict[str, dict[str, int]] = {}
        self.newcomers = False
        node.create_subscription(String, MATCHED_TOPIC, self._on_matched, STATIC)

    def lacks(self, goal: Goal, streams: Sequence[str]) -> str:
        """'' when source, rewards, mux, arm and (if asked to record) a recorder are there, listen to what they need, and have met."""
        self.newcomers = False
        drivers = self._drivers(goal)
        # A node that is still being built may speak before it listens. Sources and rewards of ours do not: what they listen to is theirs.
        for who, speaks, hears in (
            *((name, f"action/{name}", ("tick",)) for name in drivers),
            *((f"reward {name}", f"reward/{name}", ("tick",)) for name in self._rewards),
            ("mux", "action", ("tick", *(f"action/{name}" for name in drivers))),
            ("arm", "applied", ("tick", "tick_missing", "action")),
        ):
            lacking = self._deaf(who, speaks, hears)
            if lacking:
                return lacking
        if goal.record:
            if self._node.count_publishers("episode/committed") == 0:
                return "no recorder_node is running; start one, or ask for record: false"
            lacking = self._deaf(
                "recorder", "episode/committed", (*streams, "tick", "step", "episode/event", "applied", "action", CELL_SPEC_TOPIC)
            )
            if lacking:
                return lacking
        return self._unheard(goal, streams)

    def _on_matched(self, message: String) -> None:
        try:
            told = json.loads(message.data)
            self._matched[str(told["node"])] = {str(topic): int(count) for topic, count in told["subscriptions"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._node.get_logger().warning(f"{MATCHED_TOPIC}: not understood: {error}")

    def _drivers(self, goal: Goal) -> tuple[str, ...]:
        """Action sources of this episode and of its reset; a residual is asked for by the mux and may be silent."""
        return (goal.source.split("+")[0], *((self._reset_source,) if goal.reset_mode in ("robot", "full") else ()))

    def _deaf(self, who: str, speaks: str, hears: Sequence[str]) -> str:
        """'' when a node that publishes `speaks` subscribes to each of `hears`."""
        nodes = {(i.node_name, i.node_namespace) for i in self._node.get_publishers_info_by_topic(speaks)}
        if not nodes:
            return f"nobody publishes {speaks} (as {who})"
        for topic in hears:
            nodes &= {(i.node_name, i.node_namespace) for i in self._node.get_subscriptions_info_by_topic(topic)}
            if not nodes:
                return f"the {who} does not listen to {topic} yet"
        return ""

    def _unheard(self, goal: Goal, streams: Sequence[str]) -> str:
        """'' when every node of ours that publishes what an episode lives on has said that all who listen to it hear it."""
        node = self._node
        topics = (
            "tick", "tick_missing", "episode/event", "action", "applied", *(f"action/{s}" for s in self._drivers(goal)),
            *(f"reward/{r}" for r in self._rewards), *streams, "privileged/objects",
        )
        tell = {(i.node_name, i.node_namespace) for i in node.get_publishers_info_by_topic(MATCHED_TOPIC)}
        ends: set[bytes] = set()
        unheard = ""
        for topic in topics:
            publishers, subscriptions = node.get_publishers_info_by_topic(topic), node.get_subscriptions_info_by_topic(topic)
            ends |= {bytes(e.endpoint_gid) for e in (*publishers, *subscriptions)}
            for p in publishers:
                listeners = sum(_compatible(p, s) for s in subscriptions)
                told = self._matched.get(f"{p.node_namespace.rstrip('/')}/{p.node_name}", {})
                # A driver that is not of this suite tells nothing; it is taken as it is.
                if (p.node_name, p.node_namespace) in tell and told.get(node.resolve_topic_name(topic), 0) < listeners:
                    unheard = unheard or f"{p.node_name} has not met all who listen to {topic}"
        if not ends <= self._met:
            self._met, self.newcomers = frozenset(ends), True
        return unheard


def _compatible(publisher: TopicEndpointInfo, subscription: TopicEndpointInfo) -> bool:
    # What bears the name alone never matches, and nobody is to wait for it.
    verdict, _ = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
    return publisher.topic_type == subscription.topic_type and bool(verdict != QoSCompatibility.ERROR)
