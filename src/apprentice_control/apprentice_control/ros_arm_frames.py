"""What RViz needs: robot description, frames of all links and cameras, and markers of the workspace and the tool."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from apprentice_core.config import Box, CameraConfig, RobotProfile, urdf_path
from apprentice_core.ros_qos import LATCHED, STATIC
from apprentice_core.rotations import matrix_to_quaternion
from apprentice_core.urdf import UrdfJoint, UrdfTree

WORLD = "world"


def optical_frame(camera: CameraConfig) -> tuple[np.ndarray, np.ndarray]:
    """(rotation, position) of the optical frame (z forward, x right, y down) in the frame of the camera's mount."""
    eye, forward = np.array(camera.position), np.array(camera.look_at) - np.array(camera.position)
    z = forward / np.linalg.norm(forward)
    x = np.cross(z, np.array(camera.up))
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z]), eye


def _fill(t: TransformStamped, rotation: np.ndarray, position: np.ndarray) -> None:
    p, q = t.transform.translation, t.transform.rotation
    p.x, p.y, p.z = position.tolist()
    q.x, q.y, q.z, q.w = matrix_to_quaternion(rotation).tolist()


def _transform(parent: str, child: str, rotation: np.ndarray, position: np.ndarray, stamp: Time) -> TransformStamped:
    t = TransformStamped(child_frame_id=child)
    t.header.frame_id, t.header.stamp = parent, stamp
    _fill(t, rotation, position)
    return t


class FramePublisher:
    """Latched robot_description and /tf_static at the start; `update` sends /tf and markers where anybody listens."""

    def __init__(self, node: Node, robot: RobotProfile, cameras: Mapping[str, CameraConfig], workspace: Box, stamp: Time):
        tree = UrdfTree(urdf_path(robot))
        description = node.create_publisher(String, "robot_description", LATCHED)
        description.publish(String(data=tree.text))
        static = [_transform(WORLD, robot.base_frame, np.eye(3), np.zeros(3), stamp)]
        static += [_transform(j.parent, j.child, j.rotation, j.position, stamp) for j in tree.joints if j.kind == "fixed"]
        for name, camera in cameras.items():
            mount = robot.base_frame if camera.mount == "world" else camera.mount
            static.append(_transform(mount, f"{name}_optical", *optical_frame(camera), stamp))
        self._static = node.create_publisher(TFMessage, "/tf_static", STATIC)
        self._static.publish(TFMessage(transforms=static))
        moving = [*robot.arm_joints, *robot.gripper.joints]
        self._joints: list[UrdfJoint] = [j for j in tree.joints if j.kind != "fixed"]
        self._index = [moving.index(j.name) if j.name in moving else -1 for j in self._joints]
        self._tf = TFMessage(transforms=[_transform(j.parent, j.child, j.rotation, j.position, stamp) for j in self._joints])
        self._tf_out = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._markers_out = node.create_publisher(MarkerArray, "markers", LATCHED)
        self._markers = MarkerArray(markers=[_box(robot.base_frame, workspace), _tool(robot.tool_frame)])
        self.publish_markers(stamp)

    def update(self, arm: np.ndarray, gripper: np.ndarray, stamp: Time) -> None:
        """Frames of all links for joint positions in profile order."""
        if self._tf_out.get_subscription_count() == 0:
            return
        positions = (*arm.tolist(), *gripper.tolist())
        for joint, index, t in zip(self._joints, self._index, self._tf.transforms, strict=True):
            t.header.stamp = stamp
            _fill(t, *joint.transform(positions[index] if index >= 0 else 0.0))
        self._tf_out.publish(self._tf)

    def publish_markers(self, stamp: Time, stopped: bool = False) -> None:
        """The workspace box (green, red while stopped) and the tool."""
        box = self._markers.markers[0]
        box.color.r, box.color.g = (0.9, 0.1) if stopped else (0.1, 0.8)
        for marker in self._markers.markers:
            marker.header.stamp = stamp
        self._markers_out.publish(self._markers)


def _box(frame: str, workspace: Box) -> Marker:
    m = Marker(ns="workspace", id=0, type=Marker.CUBE, action=Marker.ADD, frame_locked=True)
    m.header.frame_id = frame
    low, high = np.array(workspace.low), np.array(workspace.high)
    m.pose.position.x, m.pose.position.y, m.pose.position.z = ((low + high) / 2).tolist()
    m.scale.x, m.scale.y, m.scale.z = (high - low).tolist()
    m.color.b, m.color.a = 0.2, 0.15
    m.pose.orientation.w = 1.0
    return m


def _tool(frame: str) -> Marker:
    m = Marker(ns="tool", id=1, type=Marker.SPHERE, action=Marker.ADD, frame_locked=True)
    m.header.frame_id = frame
    m.scale.x = m.scale.y = m.scale.z = 0.015
    m.color.r, m.color.g, m.color.a = 1.0, 0.6, 0.9
    m.pose.orientation.w = 1.0
    return m
