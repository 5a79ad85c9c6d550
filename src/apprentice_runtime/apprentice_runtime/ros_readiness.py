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
        """'' when source, rewards, mux, arm and (if asked to record) a recorder of every stream are there and have met."""
        self.newcomers = False
        count = self._node.count_publishers
        silent = [s for s in goal.source.split("+")[:1] if count(f"action/{s}") == 0]
        if goal.reset_mode in ("robot", "full") and count(f"action/{self._reset_source}") == 0:
            silent.append(self._reset_source)
        silent += [f"reward {r}" for r in self._rewards if count(f"reward/{r}") == 0]
        if silent:
            return f"nobody answers as {', '.join(silent)}"
        for topic in ("action", "applied"):
            if count(topic) == 0:
                return f"nobody publishes {topic}"
        return (self._recorder_lacks(streams) if goal.record else "") or self._strangers(goal, streams)

    def _recorder_lacks(self, streams: Sequence[str]) -> str:
        node = self._node
        recorders = {(i.node_name, i.node_namespace) for i in node.get_publishers_info_by_topic("episode/committed")}
        if not recorders:
            return "no recorder_node is running; start one, or ask for record: false"
        for topic in (*streams, "tick", "step", "episode/event", "applied", "action", CELL_SPEC_TOPIC):
            taps = {(i.node_name, i.node_namespace) for i in node.get_subscriptions_info_by_topic(topic)}
            if not taps & recorders:
                return f"the recorder does not listen to {topic} yet"
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
