"""Every topic of a cell, serialised and polled: what the recorder listens with."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode
from apprentice_core.ros_polled import PolledGroup, message_class, take_raw
from apprentice_store.bag_metadata import TopicQos

DEPTH = 4000
"""messages of a topic that may wait while the disk is slow: over 2 s at 1 kHz (ours)"""
BURST = 20000
"""messages of one topic taken in one go; the rest waits for the next (ours)"""


def merge_offers(offers: Sequence[TopicEndpointInfo]) -> TopicQos:
    """The QoS that hears every publisher of a topic: reliable and latched only if all are."""
    reliable = all(o.qos_profile.reliability != ReliabilityPolicy.BEST_EFFORT for o in offers)
    latched = all(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return TopicQos(max((o.qos_profile.depth for o in offers), default=10), reliable, latched)


class RecorderTaps:
    """`discover` looks for new topics, `take` gives what has come. Patterns are shell globs over absolute topic names."""

    def __init__(self, node: ApprenticeNode, include: Sequence[str], exclude: Sequence[str], declare: Callable[[str, str, TopicQos], None]):
        self._node, self._include, self._exclude, self._declare = node, include, exclude, declare
        self._group = PolledGroup()
        self._taps: dict[str, tuple[str, Subscription]] = {}
        self.unavailable: dict[str, str] = {}
        self.high_water = 0

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._taps)

    def wanted(self, topic: str) -> bool:
        if "/_" in topic:
            return False
        return any(fnmatch.fnmatch(topic, p) for p in self._include) and not any(fnmatch.fnmatch(topic, p) for p in self._exclude)

    def discover(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._taps or topic in self.unavailable or not self.wanted(topic):
                continue
            offers = self._node.get_publishers_info_by_topic(topic)
            if not offers:
                continue
            if len(types) != 1:
                self.unavailable[topic] = f"has {len(types)} types: {', '.join(types)}"
                continue
            try:
                self._listen(topic, types[0], merge_offers(offers))
            except ApprenticeError as error:
                self.unavailable[topic] = str(error)

    def _listen(self, topic: str, kind: str, offered: TopicQos) -> None:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=max(DEPTH, offered.depth),
            reliability=ReliabilityPolicy.RELIABLE if offered.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if offered.latched else DurabilityPolicy.VOLATILE,
        )
        self._declare(topic, kind, offered)
        subscription = self._node.create_subscription(
            message_class(kind), topic, lambda _: None, profile, raw=True, callback_group=self._group
        )
        self._taps[topic] = (kind, subscription)

    def take(self) -> Iterator[tuple[str, str, bytes]]:
        """(topic, type, serialised message) of all that waits."""
        for topic, (kind, subscription) in tuple(self._taps.items()):
            count = 0
            while count < BURST and (taken := take_raw(subscription)) is not None:
                count += 1
                yield topic, kind, taken[0]
            self.high_water = max(self.high_water, count)
