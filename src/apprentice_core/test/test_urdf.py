"""What is read straight from a URDF, held against Pinocchio's reading of the same file."""

import numpy as np
import pinocchio as pin
import pytest

from apprentice_core.config import load_robot, urdf_path
from apprentice_core.errors import ConfigError
from apprentice_core.urdf import UrdfTree, hand


@pytest.mark.parametrize("name", ["sawyer", "widowx"])
def test_frames_agree_with_pinocchio(name):
    robot = load_robot(name)
    model = pin.buildModelFromUrdf(str(urdf_path(robot)))
    data = model.createData()
    rng = np.random.default_rng(0)
    q = rng.uniform(-1, 1, model.nq) * np.where(np.isfinite(model.upperPositionLimit), np.minimum(model.upperPositionLimit, 1.0), 1.0)
    pin.framesForwardKinematics(model, data, q)
    positions = {model.names[i]: q[model.joints[i].idx_q] for i in range(1, model.njoints)}
    links = UrdfTree(urdf_path(robot)).below(robot.base_frame, positions)
    base = data.oMf[model.getFrameId(robot.base_frame, pin.FrameType.BODY)]
    for link, (rotation, position) in links.items():
        placement = base.actInv(data.oMf[model.getFrameId(link, pin.FrameType.BODY)])
        np.testing.assert_allclose(position, placement.translation, atol=1e-9, err_msg=link)
        np.testing.assert_allclose(rotation, placement.rotation, atol=1e-9, err_msg=link)


@pytest.mark.parametrize("name", ["sawyer", "widowx"])
def test_the_hand_has_mass_and_the_tool_is_in_it(name):
    h = hand(load_robot(name))
    assert 0.05 < h.mass < 3.0 and np.linalg.norm(h.com) < 0.2
    np.testing.assert_allclose(h.rotation @ h.rotation.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(("text", "says"), [
    ("<robot><joint/></robot>", "needs a name"), ("<robot>", "not XML"), ("<!DOCTYPE a><robot/>", "refused"),
    ('<robot><joint name="j"><parent link="a"/><child link="b"/><origin xyz="1 x 2"/></joint></robot>', "not three numbers"),
])
def test_malformed(tmp_path, text, says):
    path = tmp_path / "x.urdf"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        UrdfTree(path)
