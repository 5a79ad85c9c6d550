"""Frames for RViz."""

import numpy as np
import pytest

from apprentice_control.ros_arm_frames import optical_frame
from apprentice_core.config import load_cell


@pytest.mark.parametrize("cell", ["sawyer_lift", "widowx_pick_place"])
def test_optical_frames_look_where_the_camera_looks(cell):
    for name, camera in load_cell(cell).cameras.items():
        rotation, position = optical_frame(camera)
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12, err_msg=name)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        seen = rotation.T @ (np.array(camera.look_at) - position)
        assert seen[2] > 0 and np.allclose(seen[:2], 0), "the point looked at is straight ahead, along z"
        assert (rotation.T @ np.array(camera.up))[1] < 0, "up in the picture is -y"
