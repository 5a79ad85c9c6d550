"""Our URDFs against the published numbers and against independent models that other packages ship."""

import importlib.util
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pinocchio as pin
import pybullet
import pytest

from apprentice_control.kinematics import Kinematics, parse_urdf
from apprentice_core.config import load_robot, urdf_path
from apprentice_core.rotations import quaternion_from_rpy, quaternion_to_matrix

NEUTRAL = (0, -1.18, 0, 2.18, 0, 0.57, 3.3161)
SAWYER = [
    ((0,) * 7, (1.0155, 0.1603, 0.317), (-0.54168, 0.45452, -0.54167, 0.45452),
     (0, -39.18181, -6.19301, -11.64386, 2.13401, -0.70222, -0.0273)),
    (NEUTRAL, (0.4496, 0.1603, 0.21575), (0.7071, 0.70711, 0.00028, 0.00028),
     (0, -16.29704, -2.33812, -5.93571, 1.18273, 0.09309, 0.00002)),
    ((0.3, -0.8, 0.2, 1.5, -0.4, 0.9, 2.0), (0.54778, 0.38731, 0.1728), (-0.21839, 0.97206, -0.08111, 0.02883),
     (0, -27.66362, -2.91276, -7.81072, 1.53968, 0.1348, -0.00472)),
]
WIDOWX = [
    ((0,) * 6, (0.45833, 0, 0.36065), (0, 0, 0, 1)),
    ((0, -1.80, 1.55, 0, 0.8, 0), (0.12265, 0, 0.08126), (0, 0.27155, 0, 0.96243)),
    ((0.3, -0.4, 0.5, 0.2, 0.7, -0.3), (0.28815, 0.11038, 0.2236), (-0.09877, 0.36809, 0.22364, 0.89707)),
]


def kinematics(robot, **changes):
    return Kinematics(load_robot(robot).model_copy(update=changes))


def same_rotation(a, b):
    """Angle between two rotation matrices, rad."""
    return float(np.linalg.norm(pin.log3(a.T @ b)))


@pytest.mark.parametrize(("q", "position", "quaternion", "torque"), SAWYER)
def test_sawyer_has_the_published_pose_and_gravity(q, position, quaternion, torque):
    pose = kinematics("sawyer", tool_frame="right_hand").forward(np.array(q, float))
    assert np.allclose(pose.position, position, atol=2e-5)
    assert same_rotation(pose.rotation, quaternion_to_matrix(np.array(quaternion))) < 1e-4
    # The published torques are of the bare links l0 to l6: all that hangs on the hand weighs nothing here.
    robot = parse_urdf(urdf_path(load_robot("sawyer")))
    bare = {f"right_l{i}" for i in range(7)}
    for link in robot.findall("link"):
        if link.get("name") not in bare:
            link.find("inertial/mass").set("value", "1e-12")
    model = pin.buildModelFromXML(ElementTree.tostring(robot, encoding="unicode"))
    gravity = pin.computeGeneralizedGravity(model, model.createData(), np.array([*q, 0.0, 0.0]))
    model_gravity = 9.80665 / np.linalg.norm(model.gravity.linear)
    assert np.allclose(gravity[:7] * model_gravity, torque, atol=5e-5)


@pytest.mark.parametrize(("q", "position", "quaternion"), WIDOWX)
def test_widowx_has_the_published_pose(q, position, quaternion):
    pose = kinematics("widowx").forward(np.array(q, float))
    assert np.allclose(pose.position, position, atol=1e-5)
    assert same_rotation(pose.rotation, quaternion_to_matrix(np.array(quaternion))) < 1e-4


def published(package: str, path: str) -> Path:
    """A file of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"test requirement {package} is not installed"
    file = Path(spec.submodule_search_locations[0]) / path
    assert file.is_file(), file
    return file


def transform(rotation, position):
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, position
    return out


def turn(axis, angle):
    a = np.array(axis, float)
    k = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    return transform(np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k, np.zeros(3))


def published_sawyer():
    """Fixed transform and axis of each body from right_arm_base_link to right_hand in Meta-World's MuJoCo model."""
    text = published("metaworld", "assets/objects/assets/xyz_base.xml").read_text()
    root = ElementTree.fromstring(text)
    start = next(b for b in root.iter("body") if b.get("name") == "right_arm_base_link")

    def path(body):
        if body.get("name") == "right_hand":
            return [body]
        for child in body.findall("body"):
            found = path(child)
            if found:
                return [body, *found]
        return []

    chain = []
    for body in path(start)[1:]:
        w, x, y, z = (float(v) for v in body.get("quat", "1 0 0 0").split())
        q = np.array([x, y, z, w])
        fixed = transform(quaternion_to_matrix(q / np.linalg.norm(q)), [float(v) for v in body.get("pos").split()])
        joint = body.find("joint")
        chain.append((fixed, None if joint is None else [float(v) for v in joint.get("axis").split()], 1.0))
    return chain


def published_widowx():
    """The same from the vendor's earlier wx250s description in rtb-data, whose forearm frames are turned half about x."""
    text = published("rtbdata", "xacro/trossen_descriptions/urdf/wx250s.urdf.xacro").read_text()
    root = ElementTree.fromstring(text)
    joints = {j.get("name"): j for j in root.findall(".//joint") if j.find("parent") is not None}

    def number(value):
        match = re.fullmatch(r"\$\{(-?)pi(/2)?\}", value)
        return (-1 if match[1] else 1) * math.pi / (2 if match[2] else 1) if match else float(value)

    chain = []
    names = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "ee_arm", "gripper_bar", "ee_bar", "ee_gripper"]
    for name in names:
        j = joints[name]
        origin = j.find("origin")
        rpy = [number(v) for v in origin.get("rpy").split()]
        fixed = transform(quaternion_to_matrix(quaternion_from_rpy(*rpy)), [number(v) for v in origin.get("xyz").split()])
        axis = [float(v) for v in j.find("axis").get("xyz").split()] if j.get("type") == "revolute" else None
        chain.append((fixed, axis, -1.0 if name in ("elbow", "wrist_angle") else 1.0))
    return chain


@pytest.mark.parametrize(
    ("robot", "frame", "chain"), [("sawyer", "right_hand", published_sawyer), ("widowx", "ee_gripper_link", published_widowx)]
)
def test_forward_kinematics_agrees_with_an_independent_model(robot, frame, chain):
    ours, bodies = kinematics(robot, tool_frame=frame), chain()
    assert sum(axis is not None for _, axis, _ in bodies) == ours.n
    rng = np.random.default_rng(7)
    for q in rng.uniform(ours.lower, ours.upper, (1000, ours.n)):
        pose, theirs, angles = ours.forward(q), np.eye(4), iter(q)
        for fixed, axis, sign in bodies:
            theirs = theirs @ fixed
            if axis is not None:
                theirs = theirs @ turn(axis, sign * next(angles))
        assert np.linalg.norm(pose.position - theirs[:3, 3]) < 1e-3
        assert same_rotation(pose.rotation, theirs[:3, :3]) < math.radians(0.1)


@pytest.mark.parametrize("robot", ["sawyer", "widowx"])
def test_pybullet_and_pinocchio_read_the_same_arm(robot):
    profile = load_robot(robot)
    ours = Kinematics(profile)
    client = pybullet.connect(pybullet.DIRECT)
    try:
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE | pybullet.URDF_MAINTAIN_LINK_ORDER
        body = pybullet.loadURDF(str(urdf_path(profile)), useFixedBase=True, flags=flags, physicsClientId=client)
        joints, links = {}, {}
        for i in range(pybullet.getNumJoints(body, physicsClientId=client)):
            info = pybullet.getJointInfo(body, i, physicsClientId=client)
            joints[info[1].decode()], links[info[12].decode()] = i, i
        assert profile.wrench_joint in joints
        rng = np.random.default_rng(3)
        for q in rng.uniform(ours.lower, ours.upper, (20, ours.n)):
            for name, angle in zip(profile.arm_joints, q, strict=True):
                pybullet.resetJointState(body, joints[name], angle, physicsClientId=client)
            state = pybullet.getLinkState(body, links[profile.tool_frame], computeForwardKinematics=True, physicsClientId=client)
            pose = ours.forward(q)
            assert np.allclose(state[4], pose.position, atol=1e-5)
            assert same_rotation(quaternion_to_matrix(np.array(state[5])), pose.rotation) < 1e-4
    finally:
        pybullet.disconnect(client)


def test_home_points_straight_down_and_closes_along_y():
    pose = kinematics("sawyer").forward(np.array(load_robot("sawyer").home))
    assert np.allclose(pose.position, (0.6, 0, 0.15), atol=1e-5)
    assert np.allclose(pose.rotation, np.diag([-1, 1, -1]), atol=1e-5)
    pose = kinematics("widowx").forward(np.array(load_robot("widowx").home))
    assert np.allclose(pose.rotation[:, 0], (0, 0, -1), atol=1e-5) and np.allclose(pose.rotation[:, 1], (0, 1, 0), atol=1e-5)
