"""The QoS of every topic, in one place (README, section QoS). Changing one is a breaking change."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def sensor_publisher(rate: float) -> QoSProfile:
    """Sensors publish reliable with at least one second of depth; `rate` in Hz."""
    return _profile(max(10, int(rate + 0.999)))


def sensor_subscriber(lockstep: bool, depth: int = 1) -> QoSProfile:
    """Live consumers take the newest, best effort; in lockstep every message must arrive, so reliable."""
    return _profile(max(depth, 100), True) if lockstep else _profile(depth, False)


def recorder_subscriber(rate: float = 1000.0) -> QoSProfile:
    """At least two seconds of depth."""
    return _profile(max(1000, int(2 * rate)))


COMMAND = _profile(1)
"""live commands: reliable, depth 1, obeyed only with the current step id"""
SPINE = _profile(1000)
"""tick, applied, step, actions for the record, rewards, events"""
LATCHED = _profile(1, latched=True)
"""late-joiner state: descriptions, e-stop state, policy status"""
STATIC = _profile(100, latched=True)
"""tf_static and calibration, of which there are several"""
