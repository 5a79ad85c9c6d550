"""The arm's state as messages: patched in serialised form, because fifty a control period must cost next to nothing."""

from __future__ import annotations

from array import array

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped, WrenchStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from apprentice_control.state_sample import ArmSample, SceneSample
from apprentice_core.config import RobotProfile
from apprentice_core.ros_qos import SPINE, sensor_publisher
from apprentice_core.ros_template import joint_state_template, pose_template, twist_template, wrench_template
from apprentice_core.ros_time import BILLION
from apprentice_core.streams import CONTACT_TOPIC
from apprentice_interfaces.msg import Connection, ObjectStates, SceneState


def _floats(values: np.ndarray) -> array[float]:
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


class StatePublisher:
    """Publishes joint_states, gripper/joint_states, tool/pose, tool/twist, wrench_raw; in simulation the scene and /clock too."""

    def __init__(
        self, node: Node, robot: RobotProfile, wrench_frame: str, rate: float, scene: bool, clock: bool,
        scene_events: PublisherEventCallbacks | None = None,
    ):
        qos = sensor_publisher(rate)
        self._joints = joint_state_template(robot.base_frame, robot.arm_joints)
        self._gripper = joint_state_template(robot.base_frame, robot.gripper.joints)
        self._pose, self._twist = pose_template(robot.base_frame), twist_template(robot.base_frame)
        self._wrench = wrench_template(wrench_frame)
        self._joints_out = node.create_publisher(JointState, "joint_states", qos)
        self._gripper_out = node.create_publisher(JointState, "gripper/joint_states", qos)
        self._pose_out = node.create_publisher(PoseStamped, "tool/pose", qos)
        self._twist_out = node.create_publisher(TwistStamped, "tool/twist", qos)
        self._wrench_out = node.create_publisher(WrenchStamped, "wrench_raw", qos)
        self._objects = ObjectStates()
        self._objects.header.frame_id = robot.base_frame
        self._scene = SceneState()
        self._scene.header.frame_id = robot.base_frame
        self._objects_out = node.create_publisher(ObjectStates, "privileged/objects", sensor_publisher(rate)) if scene else None
        self._scene_out = (
            node.create_publisher(SceneState, "scene/state", sensor_publisher(rate), event_callbacks=scene_events) if scene else None
        )
        self._connected = Connection()
        self._connected_out = node.create_publisher(Connection, CONTACT_TOPIC, sensor_publisher(rate)) if scene else None
        self._clock_out = node.create_publisher(Clock, "/clock", SPINE) if clock else None
        self._clock = Clock()

    def clock(self, stamp: int) -> None:
        """Sim time on /clock, ahead of the data that bear it, so that no consumer sees data from its future."""
        if self._clock_out is not None:
            self._clock.clock.sec, self._clock.clock.nanosec = divmod(stamp, BILLION)
            self._clock_out.publish(self._clock)

    def sample(self, s: ArmSample) -> None:
        """Joints and wrench; gripper and pose where the sample has a pose, and the twist where it has one."""
        if s.pose is not None:
            self._pose_out.publish(self._pose.fill(s.stamp, s.pose))
            self._gripper_out.publish(self._gripper.fill(s.stamp, s.gripper_position, s.gripper_velocity, s.gripper_effort))
        if s.twist is not None:
            self._twist_out.publish(self._twist.fill(s.stamp, s.twist))
        self._joints_out.publish(self._joints.fill(s.stamp, s.position, s.velocity, s.effort))
        self._wrench_out.publish(self._wrench.fill(s.stamp, s.wrench))

    def scene(self, s: SceneSample) -> None:
        if self._scene_out is None or self._objects_out is None:
            return
        sec, nanosec = divmod(s.stamp, BILLION)
        o = self._objects
        o.header.stamp.sec, o.header.stamp.nanosec = sec, nanosec
        names = list(s.objects)
        if o.names != names:
            o.names, o.poses, o.twists = names, [Pose() for _ in names], [Twist() for _ in names]
        for pose, twist, (p7, t6) in zip(o.poses, o.twists, s.objects.values(), strict=True):
            p, q, v, w = pose.position, pose.orientation, twist.linear, twist.angular
            p.x, p.y, p.z, q.x, q.y, q.z, q.w = p7.tolist()
            v.x, v.y, v.z, w.x, w.y, w.z = t6.tolist()
        self._objects_out.publish(o)
        if s.connected is not None and self._connected_out is not None:
            c = self._connected
            c.header.stamp.sec, c.header.stamp.nanosec, c.connected = sec, nanosec, s.connected
            self._connected_out.publish(c)
        m = self._scene
        m.header.stamp.sec, m.header.stamp.nanosec = sec, nanosec
        m.scene_version, m.description = s.version, s.description
        m.joint_positions, m.base_poses = _floats(s.joint_positions), _floats(s.base_poses)
        self._scene_out.publish(m)
