"""Is everybody there that an episode needs? Asked of the graph before an episode, never per tick."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rclpy.node import Node

from apprentice_core.cell_spec import CELL_SPEC_TOPIC
from apprentice_runtime.episode_machine import Goal

GETTING_TO_KNOW = 0.5
"""no endpoint of the spine may be younger than this when an episode begins, s (ours)"""


class Readiness:
    """`lacks` says in words who is missing. Newcomers have found this node before they have found each other, so who has just come is
    given a moment; `newcomers` is True after a call that met some."""

    def __init__(self, node: Node, rewards: Sequence[str], reset_source: str):
        self._node, self._rewards, self._reset_source = node, tuple(rewards), reset_source
        self._met: frozenset[bytes] = frozenset()
        self._met_at = 0.0
        self.newcomers = False

    def lacks(self, goal: Goal, streams: Sequence[str]) -> str:
        """'' when source, rewards, mux, arm and (if asked to record) a recorder are there, listen to what they need, and have met."""
        self.newcomers = False
        driving = goal.source.split("+")
        resets = [self._reset_source] if goal.reset_mode in ("robot", "full") else []
        # A node that is still being built may speak before it listens. Sources and rewards of ours do not: what they listen to is theirs.
        for who, speaks, hears in (
            *((name, f"action/{name}", ("tick",)) for name in (*driving[:1], *resets)),
            *((f"reward {name}", f"reward/{name}", ("tick",)) for name in self._rewards),
            ("mux", "action", ("tick", *(f"action/{name}" for name in (*driving[:1], *resets)))),
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
        return self._strangers(goal, streams)

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

    def _strangers(self, goal: Goal, streams: Sequence[str]) -> str:
        node = self._node
        topics = ("tick", "episode/event", "action", "applied", *(f"action/{s}" for s in goal.source.split("+")), *streams)
        ends = frozenset(
            bytes(i.endpoint_gid) for t in topics for i in (*node.get_publishers_info_by_topic(t), *node.get_subscriptions_info_by_topic(t))
        )
        if not ends <= self._met:
            self._met, self._met_at, self.newcomers = ends, time.monotonic(), True
        return "the nodes are still finding each other" if time.monotonic() - self._met_at < GETTING_TO_KNOW else ""
