"""Forward kinematics, Jacobian, gravity and mass matrix of one arm, by Pinocchio from its URDF."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pinocchio as pin

from apprentice_core.config import RobotProfile, urdf_path
from apprentice_core.errors import ConfigError

MOVABLE = ("revolute", "prismatic", "continuous")


@dataclass(frozen=True)
class ToolPose:
    """Pose of the tool frame in the base frame: `position` [3] m, `rotation` [3, 3]."""

    position: np.ndarray
    rotation: np.ndarray

    @property
    def quaternion(self) -> np.ndarray:
        """Quaternion xyzw [4], w >= 0."""
        q = pin.Quaternion(self.rotation).coeffs()
        return -q if q[3] < 0 else q


def _numbers(file: str, what: str, text: str | None, count: int) -> list[float]:
    try:
        values = [float(x) for x in (text or "").split()]
    except ValueError as error:
        raise ConfigError(file, what, f"{text!r} is not a list of numbers") from error
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ConfigError(file, what, f"{text!r}: expected {count} finite number{'s' if count > 1 else ''}")
    return values


def parse_urdf(path: Path) -> ElementTree.Element:
    """The robot element of a URDF, its links and joints checked; ConfigError names the file and the element."""
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ConfigError(file, "", "document type definitions are refused")
        robot = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read ({error.strerror})") from error
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(file, "", f"is not XML ({error})") from error
    if robot.tag != "robot":
        raise ConfigError(file, robot.tag, "the root element must be <robot>")
    links: set[str] = set()
    for link in robot.findall("link"):
        name = link.get("name", "")
        if not name or name in links:
            raise ConfigError(file, f"link {name!r}", "has no name or a name that is used twice")
        links.add(name)
        mass = link.find("inertial/mass")
        if mass is None or _numbers(file, f"link {name!r} mass", mass.get("value"), 1)[0] <= 0:
            raise ConfigError(file, f"link {name!r}", "needs an inertial with a mass above zero")
        for placed in link.iter("origin"):
            _numbers(file, f"link {name!r} origin xyz", placed.get("xyz", "0 0 0"), 3)
            _numbers(file, f"link {name!r} origin rpy", placed.get("rpy", "0 0 0"), 3)
    children: set[str] = set()
    for joint in robot.findall("joint"):
        name = f"joint {joint.get('name', '')!r}"
        for end in ("parent", "child"):
            element = joint.find(end)
            if element is None or element.get("link") not in links:
                raise ConfigError(file, f"{name} {end}", "names no link of this robot")
        child = joint.find("child").get("link", "")  # type: ignore[union-attr]
        if child in children:
            raise ConfigError(file, f"{name} child", f"link {child!r} has two parents")
        children.add(child)
        origin = joint.find("origin")
        if origin is not None:
            _numbers(file, f"{name} origin xyz", origin.get("xyz", "0 0 0"), 3)
            _numbers(file, f"{name} origin rpy", origin.get("rpy", "0 0 0"), 3)
        if joint.get("type") in ("revolute", "prismatic"):
            limit = joint.find("limit")
            if limit is None:
                raise ConfigError(file, name, "has no <limit>")
            bounds = {k: _numbers(file, f"{name} limit {k}", limit.get(k), 1)[0] for k in ("lower", "upper", "effort", "velocity")}
            if bounds["lower"] >= bounds["upper"]:
                raise ConfigError(file, f"{name} limit", "lower must be below upper")
    if len(links - children) != 1:
        raise ConfigError(file, "link", f"needs exactly one root link, has {sorted(links - children)}")
    return robot


class Kinematics:
    """One arm with its fingers locked where the URDF has zero; the fingers' mass counts.

    Joint vectors are float64 [n] in the profile's order. Positions, Jacobian and twists are of the tool frame in the base
    frame, metres and radians. Not thread safe: each user has its own.
    """

    def __init__(self, profile: RobotProfile, urdf: Path | None = None):
        path = urdf or urdf_path(profile)
        file = str(path)
        robot = parse_urdf(path)
        joints = {j.get("name", ""): j for j in robot.findall("joint")}
        links = {link.get("name", "") for link in robot.findall("link")}
        for field, frame in (("base_frame", profile.base_frame), ("tool_frame", profile.tool_frame)):
            if frame not in links:
                raise ConfigError(file, f"link {frame!r}", f"does not exist (the profile's {field})")
        for name in (*profile.arm_joints, *profile.gripper.joints, profile.wrench_joint):
            if name not in joints:
                raise ConfigError(file, f"joint {name!r}", f"does not exist (profile {profile.name})")
        limits = []
        for name in profile.arm_joints:
            limit = joints[name].find("limit")
            if joints[name].get("type") != "revolute" or limit is None:
                raise ConfigError(file, f"joint {name!r}", "an arm joint must be revolute with limits")
            limits.append([float(limit.get(k, "")) for k in ("lower", "upper", "velocity", "effort")])
        self.lower, self.upper, self.velocity, self.effort = (np.array(column) for column in zip(*limits, strict=True))
        self.n = len(profile.arm_joints)

        # A fixed joint is folded into its parent with its mass; doing so in the text avoids Pinocchio's frame-name clashes
        # where a vendor gives a fixed joint and its link the same name.
        for name, joint in joints.items():
            if name not in profile.arm_joints and joint.get("type") in MOVABLE:
                joint.set("type", "fixed")
                for mimic in joint.findall("mimic"):
                    joint.remove(mimic)
        self.model = self._build(robot, file)
        if list(self.model.names)[1:] != list(profile.arm_joints):
            raise ConfigError(file, "arm_joints", f"must follow the chain: {', '.join(list(self.model.names)[1:])}")
        self.data = self.model.createData()
        sensor_link = joints[profile.wrench_joint].find("child").get("link", "")  # type: ignore[union-attr]
        self._tool = self.model.getFrameId(profile.tool_frame, pin.FrameType.BODY)
        self._sensor = self.model.getFrameId(sensor_link, pin.FrameType.BODY)
        base = self.model.frames[self.model.getFrameId(profile.base_frame, pin.FrameType.BODY)]
        if base.parentJoint != 0:
            raise ConfigError(file, f"link {profile.base_frame!r}", "the base frame must not move with a joint")
        self._to_base = base.placement.inverse()
        self._base_is_root = bool(np.allclose(self._to_base.homogeneous, np.eye(4), atol=1e-12))

    @staticmethod
    def _build(robot: ElementTree.Element, file: str) -> pin.Model:
        try:
            return pin.buildModelFromXML(ElementTree.tostring(robot, encoding="unicode"))
        except (ValueError, RuntimeError) as error:
            raise ConfigError(file, "robot", f"Pinocchio cannot read it ({' '.join(str(error).split())})") from error

    def forward(self, q: np.ndarray) -> ToolPose:
        """Pose of the tool."""
        pin.framesForwardKinematics(self.model, self.data, q)
        placement = self.data.oMf[self._tool]
        if not self._base_is_root:
            placement = self._to_base * placement
        return ToolPose(placement.translation.copy(), placement.rotation.copy())

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """[6, n]: linear rows (m/s), then angular rows (rad/s), of the tool's origin in the base frame's axes."""
        jacobian = pin.computeFrameJacobian(self.model, self.data, q, self._tool, pin.LOCAL_WORLD_ALIGNED)
        if not self._base_is_root:
            rotation = self._to_base.rotation
            jacobian = np.vstack([rotation @ jacobian[:3], rotation @ jacobian[3:]])
        return jacobian

    def tool(self, q: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tool pose [7] (xyz, quaternion xyzw) and twist [6] for joint positions and velocities [n]."""
        return self.tool_pose(q), self.jacobian(q) @ velocity

    def tool_pose(self, q: np.ndarray) -> np.ndarray:
        """Tool pose [7] (xyz, quaternion xyzw) for joint positions [n]."""
        pose = self.forward(q)
        return np.concatenate([pose.position, pose.quaternion])

    def gravity(self, q: np.ndarray) -> np.ndarray:
        """Joint torques [n] that hold the arm against gravity (the base's z up), N m. The array is reused by the next call."""
        return pin.computeGeneralizedGravity(self.model, self.data, q)

    def mass_diagonal(self, q: np.ndarray) -> np.ndarray:
        """Diagonal [n] of the joint-space mass matrix, kg m^2."""
        return np.diagonal(pin.crba(self.model, self.data, q)).copy()

    def sensor_rotation(self, q: np.ndarray) -> np.ndarray:
        """[3, 3]: the wrist sensor's frame in the base frame."""
        pin.framesForwardKinematics(self.model, self.data, q)
        rotation = self.data.oMf[self._sensor].rotation
        return rotation.copy() if self._base_is_root else self._to_base.rotation @ rotation
