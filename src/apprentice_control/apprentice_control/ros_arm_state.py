"""The arm's state as messages: preallocated, filled and published, because fifty a control period must cost next to nothing."""

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
from apprentice_interfaces.msg import ObjectStates, SceneState

BILLION = 1_000_000_000


def _floats(values: np.ndarray) -> array[float]:
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


class StatePublisher:
    """Publishes joint_states, gripper/joint_states, tool/pose, tool/twist, wrench_raw; in simulation the scene and /clock too."""

    def __init__(
        self, node: Node, robot: RobotProfile, wrench_frame: str, rate: float, scene: bool, clock: bool,
        scene_events: PublisherEventCallbacks | None = None,
    ):
        qos = sensor_publisher(rate)
        self._joints = JointState(name=list(robot.arm_joints))
        self._gripper = JointState(name=list(robot.gripper.joints))
        self._pose, self._twist, self._wrench = PoseStamped(), TwistStamped(), WrenchStamped()
        for message in (self._joints, self._gripper, self._pose, self._twist):
            message.header.frame_id = robot.base_frame
        self._wrench.header.frame_id = wrench_frame
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
        self._clock_out = node.create_publisher(Clock, "/clock", SPINE) if clock else None
        self._clock = Clock()

    def clock(self, stamp: int) -> None:
        """Sim time on /clock, ahead of the data that bear it, so that no consumer sees data from its future."""
        if self._clock_out is not None:
            self._clock.clock.sec, self._clock.clock.nanosec = divmod(stamp, BILLION)
            self._clock_out.publish(self._clock)

    def sample(self, s: ArmSample) -> None:
        """Joints and wrench; gripper, pose and twist where the sample has a pose."""
        sec, nanosec = divmod(s.stamp, BILLION)
        if s.pose is not None and s.twist is not None:
            self._tool(s, sec, nanosec)
        self._states(self._joints, sec, nanosec, s.position, s.velocity, s.effort)
        self._joints_out.publish(self._joints)
        w = self._wrench
        w.header.stamp.sec, w.header.stamp.nanosec = sec, nanosec
        f, t = w.wrench.force, w.wrench.torque
        f.x, f.y, f.z, t.x, t.y, t.z = s.wrench.tolist()
        self._wrench_out.publish(w)

    def _tool(self, s: ArmSample, sec: int, nanosec: int) -> None:
        assert s.pose is not None and s.twist is not None
        m = self._pose
        m.header.stamp.sec, m.header.stamp.nanosec = sec, nanosec
        p, q = m.pose.position, m.pose.orientation
        p.x, p.y, p.z, q.x, q.y, q.z, q.w = s.pose.tolist()
        self._pose_out.publish(m)
        n = self._twist
        n.header.stamp.sec, n.header.stamp.nanosec = sec, nanosec
        v, w = n.twist.linear, n.twist.angular
        v.x, v.y, v.z, w.x, w.y, w.z = s.twist.tolist()
        self._twist_out.publish(n)
        self._states(self._gripper, sec, nanosec, s.gripper_position, s.gripper_velocity, s.gripper_effort)
        self._gripper_out.publish(self._gripper)

    @staticmethod
    def _states(m: JointState, sec: int, nanosec: int, position: np.ndarray, velocity: np.ndarray, effort: np.ndarray) -> None:
        m.header.stamp.sec, m.header.stamp.nanosec = sec, nanosec
        m.position, m.velocity, m.effort = _floats(position), _floats(velocity), _floats(effort)

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
        m = self._scene
        m.header.stamp.sec, m.header.stamp.nanosec = sec, nanosec
        m.scene_version, m.description = s.version, s.description
        m.joint_positions, m.base_poses = _floats(s.joint_positions), _floats(s.base_poses)
        self._scene_out.publish(m)
