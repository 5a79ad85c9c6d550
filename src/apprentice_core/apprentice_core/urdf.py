"""The few facts that are read straight from a URDF: what hangs beyond the wrist force sensor, and fixed transforms in the hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transforms3d.euler import euler2mat

from apprentice_core.config import RobotProfile, urdf_path
from apprentice_core.errors import ConfigError
from apprentice_core.rotations import matrix_from_rotation_vector


@dataclass(frozen=True)
class UrdfJoint:
    """`rotation` [3, 3] and `position` [3]: the child's frame in the parent's at joint position 0; `kind` as in the URDF."""

    name: str
    kind: str
    parent: str
    child: str
    rotation: np.ndarray
    position: np.ndarray
    axis: np.ndarray

    def transform(self, value: float) -> tuple[np.ndarray, np.ndarray]:
        """(rotation, position) of the child in the parent at a joint position in rad or m."""
        if self.kind == "prismatic":
            return self.rotation, self.position + self.rotation @ (self.axis * value)
        if self.kind in {"revolute", "continuous"}:
            return self.rotation @ matrix_from_rotation_vector(self.axis * value), self.position
        return self.rotation, self.position


def _vector(element: ET.Element | None, attribute: str, default: str) -> np.ndarray:
    return np.array([float(x) for x in (element.get(attribute, default) if element is not None else default).split()])


class UrdfTree:
    """Links and joints of one URDF; ConfigError names file and element when it is malformed.

    `text`: the description itself, where it did not come from a file; `path` then only names it in errors.
    """

    def __init__(self, path: Path, text: str | None = None):
        self._path = path
        try:
            self.text = text = path.read_text(encoding="utf-8") if text is None else text
            if "<!DOCTYPE" in text or "<!ENTITY" in text:
                raise ConfigError(str(path), "", "document type definitions are refused")
            self.root = root = ET.fromstring(text)  # noqa: S314 - entities were refused above
        except OSError as error:
            raise ConfigError(str(path), "", f"cannot be read ({error.strerror})") from error
        except (ET.ParseError, UnicodeDecodeError) as error:
            raise ConfigError(str(path), "", f"is not XML ({error})") from error
        self._joints: dict[str, UrdfJoint] = {}
        self._children: dict[str, list[UrdfJoint]] = {}
        for element in root.findall("joint"):
            joint = self._joint(element)
            self._joints[joint.name] = joint
            self._children.setdefault(joint.parent, []).append(joint)
        self._inertials = {e.get("name", ""): e.find("inertial") for e in root.findall("link")}

    def _joint(self, e: ET.Element) -> UrdfJoint:
        name, parent, child = e.get("name", ""), e.find("parent"), e.find("child")
        if not name or parent is None or child is None:
            raise ConfigError(str(self._path), f"joint {name!r}", "needs a name, a parent and a child")
        origin, axis = e.find("origin"), e.find("axis")
        try:
            rotation = euler2mat(*_vector(origin, "rpy", "0 0 0"), "sxyz")
            return UrdfJoint(
                name, e.get("type", ""), parent.get("link", ""), child.get("link", ""), rotation, _vector(origin, "xyz", "0 0 0"),
                _vector(axis, "xyz", "1 0 0"),
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(str(self._path), f"joint {name!r}", f"origin or axis is not three numbers ({error})") from error

    @property
    def joints(self) -> tuple[UrdfJoint, ...]:
        return tuple(self._joints.values())

    def joint_child(self, name: str) -> str:
        if name not in self._joints:
            raise ConfigError(str(self._path), f"joint {name!r}", "does not exist")
        return self._joints[name].child

    def below(self, link: str, positions: Mapping[str, float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Every link of the subtree: its rotation [3, 3] and position [3] in `link`, joints at `positions` (else 0)."""
        out = {link: (np.eye(3), np.zeros(3))}
        stack = [link]
        while stack:
            parent = stack.pop()
            rotation, position = out[parent]
            for j in self._children.get(parent, []):
                r, p = j.transform(positions.get(j.name, 0.0))
                out[j.child] = (rotation @ r, position + rotation @ p)
                stack.append(j.child)
        return out

    def mass(self, link: str) -> tuple[float, np.ndarray]:
        """kg, and the centre of mass in the link's frame."""
        inertial = self._inertials.get(link)
        element = inertial.find("mass") if inertial is not None else None
        if inertial is None or element is None:
            return 0.0, np.zeros(3)
        try:
            return float(element.get("value", "")), _vector(inertial.find("origin"), "xyz", "0 0 0")
        except ValueError as error:
            raise ConfigError(str(self._path), f"link {link!r}", f"inertial is not numeric ({error})") from error


@dataclass(frozen=True)
class Hand:
    """What the wrist force sensor carries. `frame`: sensor frame; `mass` kg and `com` m in it; `rotation`: sensor in the tool frame."""

    frame: str
    mass: float
    com: tuple[float, float, float]
    rotation: np.ndarray


def hand(robot: RobotProfile) -> Hand:
    """Payload beyond `wrench_joint` with the gripper half closed, and the sensor's orientation in the tool frame."""
    tree = UrdfTree(urdf_path(robot))
    frame = tree.joint_child(robot.wrench_joint)
    g = robot.gripper
    half = {j: 0.5 * (a + b) for j, a, b in zip(g.joints, g.open, g.closed, strict=True)}
    links = tree.below(frame, half)
    if robot.tool_frame not in links:
        raise ConfigError(robot.name, "tool_frame", f"{robot.tool_frame!r} is not beyond joint {robot.wrench_joint!r}")
    total, moment = 0.0, np.zeros(3)
    for link, (rotation, position) in links.items():
        m, com = tree.mass(link)
        total += m
        moment += m * (position + rotation @ com)
    com = moment / total if total > 0 else moment
    return Hand(frame, total, (float(com[0]), float(com[1]), float(com[2])), links[robot.tool_frame][0].T)
