"""The VR controller's wire: an OpenVR or OpenXR bridge's PoseStamped and Joy, handed to the device as they come."""

from __future__ import annotations

import math
import time
from dataclasses import fields
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Joy

from apprentice_core.errors import ApprenticeError
from apprentice_core.ros_node import ApprenticeNode, Param
from apprentice_core.ros_qos import sensor_subscriber
from apprentice_core.ros_time import BILLION
from apprentice_runtime.teleop_devices.vr_controller import FRAMES, VrController, VrSettings

POSE_TOPIC, JOY_TOPIC = "vr/pose", "vr/joy"
"""remapped to what the bridge calls them"""

_OURS = VrSettings()
VR_PARAMETERS = (
    Param("vr_clutch_button", _OURS.clutch_button, "vr: button of the Joy that is the clutch", bounds=(0, 63)),
    Param("vr_release_button", _OURS.release_button, "vr: button of the Joy that hands back", bounds=(0, 63)),
    Param("vr_trigger_axis", _OURS.trigger_axis, "vr: axis of the Joy that is the trigger, 0 at rest and 1 pulled", bounds=(0, 63)),
    Param("vr_axes", _OURS.axes, "vr: axes of the bridge: ros is x forward, z up; openvr is y up, z backward", choices=tuple(FRAMES)),
    Param("vr_yaw", _OURS.yaw, "vr: yaw of the operator's forward in the base frame, rad", bounds=(-math.pi, math.pi)),
    Param("vr_scale", _OURS.scale, "vr: m of the tool for each m of the hand", bounds=(0.01, 5.0)),
    Param("vr_turn_scale", _OURS.turn_scale, "vr: rad of the tool for each rad of the hand; 0 holds the orientation", bounds=(0.0, 5.0)),
    Param("vr_max_age", _OURS.max_age, "vr: an older pose, or so long without one, means standing still, s", bounds=(0.02, 1.0)),
    Param("vr_joy_max_age", _OURS.joy_max_age, "vr: so long without a Joy means standing still, s", bounds=(0.05, 5.0)),
    Param("vr_max_speed", _OURS.max_speed, "vr: a faster hand is a jump of the tracking, m/s", bounds=(0.1, 10.0)),
    Param("vr_max_turn", _OURS.max_turn, "vr: a faster turn of the hand is a jump of the tracking, rad/s", bounds=(1.0, 60.0)),
)


def open_vr(node: ApprenticeNode, settings: dict[str, Any]) -> VrController:
    """The device, fed by `node`'s subscriptions. The bridge's clock and this machine's have to agree within `vr_max_age`."""
    if settings["vr_clutch_button"] == settings["vr_release_button"]:
        raise ApprenticeError("vr_clutch_button and vr_release_button are the same button")
    device = VrController(VrSettings(**{f.name: settings[f"vr_{f.name}"] for f in fields(VrSettings)}))

    def on_pose(m: PoseStamped) -> None:
        stamp = m.header.stamp.sec * BILLION + m.header.stamp.nanosec
        p, q = m.pose.position, m.pose.orientation
        age = (time.time_ns() - stamp) / BILLION
        device.pose(stamp, age, np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]), time.monotonic())

    # Best effort hears every bridge. Of the poses the newest will do; of the buttons each state counts.
    node.create_subscription(PoseStamped, POSE_TOPIC, on_pose, sensor_subscriber(False))
    node.create_subscription(Joy, JOY_TOPIC, lambda m: device.buttons(m.axes, m.buttons, time.monotonic()), sensor_subscriber(False, 10))
    return device
