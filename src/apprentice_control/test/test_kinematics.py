import numpy as np
import pinocchio as pin
import pytest

from apprentice_control.differential_ik import DifferentialIK, velocity_scale
from apprentice_control.kinematics import Kinematics
from apprentice_core.config import load_robot, urdf_path
from apprentice_core.errors import ConfigError

SAWYER = load_robot("sawyer")


def test_jacobian_is_the_derivative_of_forward():
    for robot in ("sawyer", "widowx"):
        profile = load_robot(robot)
        kinematics, q = Kinematics(profile), np.array(profile.home) + 0.1
        jacobian, step = kinematics.jacobian(q).copy(), 1e-6
        for i in range(kinematics.n):
            a, b = kinematics.forward(q - step * np.eye(kinematics.n)[i]), kinematics.forward(q + step * np.eye(kinematics.n)[i])
            column = np.concatenate([b.position - a.position, pin.log3(b.rotation @ a.rotation.T)]) / (2 * step)
            assert np.allclose(jacobian[:, i], column, atol=1e-6)


def test_gravity_is_the_gradient_of_potential_energy_and_counts_the_fingers():
    kinematics, q = Kinematics(SAWYER), np.array(SAWYER.home)
    gravity, step = kinematics.gravity(q).copy(), 1e-6
    for i in range(7):
        e = step * np.eye(7)[i]
        above, below = (pin.computePotentialEnergy(kinematics.model, kinematics.data, x) for x in (q + e, q - e))
        assert gravity[i] == pytest.approx((above - below) / (2 * step), abs=1e-4)
    arm = 5.3213 + 4.505 + 1.745 + 2.5097 + 1.1136 + 1.5625 + 0.3292
    carried = 1.5795 + 0.01 + 3 * 0.03 + 0.9 + 0.0001  # head, hand, cameras, gripper with its fingers, tool frame
    assert sum(i.mass for i in kinematics.model.inertias.tolist()[1:]) == pytest.approx(arm + carried, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("</robot>", "", "not XML"),
        ('<link name="right_l3">', '<link name="right_lx">', "right_j3"),
        ('joint name="right_j3"', 'joint name="elbow"', "right_j3"),
        ('upper="2.2736"', 'upper="-9"', "right_j1"),
        ('upper="2.2736"', 'upper="many"', "right_j1"),
        ('<mass value="4.505"/>', '<mass value="nan"/>', "right_l1"),
        ('<link name="pinch_point">', '<link name="tip">', "pinch_point"),
    ],
)
def test_a_malformed_urdf_is_refused_with_file_and_place(tmp_path, old, new, field):
    text = urdf_path(SAWYER).read_text()
    assert old in text
    path = tmp_path / "broken.urdf"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as error:
        Kinematics(SAWYER, path)
    assert "broken.urdf" in str(error.value) and field in str(error.value) and "\n" not in str(error.value)


def solver(profile):
    kinematics = Kinematics(profile)
    return kinematics, DifferentialIK(kinematics, kinematics.lower + 0.05, kinematics.upper - 0.05, np.array(profile.home))


@pytest.mark.parametrize("robot", ["sawyer", "widowx"])
def test_ik_reaches_nearby_poses(robot):
    profile = load_robot(robot)
    kinematics, ik = solver(profile)
    home, rng = kinematics.forward(np.array(profile.home)), np.random.default_rng(0)
    for _ in range(100):
        position = home.position + rng.uniform(-0.01, 0.01, 3)
        rotation = pin.exp3(rng.uniform(-0.05, 0.05, 3)) @ home.rotation
        result = ik.solve(np.array(profile.home), position, rotation, 0.1)
        reached = kinematics.forward(result.q)
        assert np.linalg.norm(reached.position - position) < 2e-5 and result.position_error < 2e-5
        assert np.linalg.norm(pin.log3(reached.rotation @ rotation.T)) < 2e-5


@pytest.mark.parametrize("robot", ["sawyer", "widowx"])
def test_ik_stays_within_position_limits_when_the_target_is_out_of_reach(robot):
    profile = load_robot(robot)
    kinematics, ik = solver(profile)
    q, home = np.array(profile.home), kinematics.forward(np.array(profile.home))
    for direction in np.eye(3):
        q = np.array(profile.home)
        for _ in range(40):
            q = ik.solve(q, kinematics.forward(q).position + 0.1 * direction, home.rotation, 0.1).q
            assert (q >= ik.lower).all() and (q <= ik.upper).all()


def test_the_elbow_drifts_home_without_moving_the_tool():
    kinematics, ik = solver(SAWYER)
    home = np.array(SAWYER.home)
    start = home.copy()
    pose = kinematics.forward(home)
    null = np.linalg.svd(kinematics.jacobian(home))[2][-1]
    start = ik.solve(home + 0.3 * null, pose.position, pose.rotation, 1e-9).q
    q = start
    for _ in range(200):
        q = ik.solve(q, pose.position, pose.rotation, 0.1).q
        assert np.linalg.norm(kinematics.forward(q).position - pose.position) < 5e-5
    assert np.linalg.norm(q - home) < 0.1 * np.linalg.norm(start - home)


def test_velocity_scaling_keeps_direction():
    velocity, limit = np.array([0.4, -0.2, 0.1]), np.array([0.1, 1.0, 1.0])
    scaled = velocity * velocity_scale(velocity, limit)
    assert np.allclose(scaled, [0.1, -0.05, 0.025])
    assert velocity_scale(np.array([0.05, 0, 0]), limit) == 1.0
