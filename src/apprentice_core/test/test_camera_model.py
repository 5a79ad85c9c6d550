"""Calibration: reading, refusing, and following the image through crop and reduction."""

import numpy as np
import pytest
import yaml

from apprentice_core.camera_model import CameraModel, load_calibration
from apprentice_core.errors import ConfigError

GOOD = {
    "image_width": 640, "image_height": 480, "camera_name": "left", "distortion_model": "plumb_bob",
    "camera_matrix": {"rows": 3, "cols": 3, "data": [500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1]},
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, -0.2, 0, 0, 0]},
    "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    "projection_matrix": {"rows": 3, "cols": 4, "data": [500.0, 0, 319.5, 0, 0, 500.0, 239.5, 0, 0, 0, 1, 0]},
}


def _write(tmp_path, content):
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_standard_file_is_read(tmp_path):
    model = load_calibration(_write(tmp_path, GOOD))
    assert (model.height, model.width, model.k[0], model.d[1]) == (480, 640, 500.0, -0.2)


@pytest.mark.parametrize(("field", "value"), [
    ("image_width", "wide"), ("distortion_model", "magic"), ("camera_matrix", {"data": [1, 2]}),
    ("projection_matrix", {"data": [float("nan")] * 12}), ("rectification_matrix", None),
])
def test_the_wrong_field_is_named(tmp_path, field, value):
    with pytest.raises(ConfigError, match=field):
        load_calibration(_write(tmp_path, {**GOOD, field: value}))


def test_not_yaml_and_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_calibration(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("[1, 2")
    with pytest.raises(ConfigError, match="not YAML"):
        load_calibration(tmp_path / "bad.yaml")


def test_a_ray_keeps_its_direction_through_crop_and_reduction():
    model = CameraModel.from_fov((480, 640), 60.0)
    small = model.at_record_size((96, 128))
    # The block of 5x5 raw pixels whose mean is record pixel (10, 20) is centred on raw pixel (52, 102).
    for (v, u), (rv, ru) in (((52, 102), (10, 20)), ((2, 2), (0, 0))):
        raw = ((u - model.k[2]) / model.k[0], (v - model.k[5]) / model.k[4])
        reduced = ((ru - small.k[2]) / small.k[0], (rv - small.k[5]) / small.k[4])
        np.testing.assert_allclose(raw, reduced, atol=1e-12)


def test_a_crop_shifts_the_principal_point():
    small = CameraModel.from_fov((100, 200), 60.0).at_record_size((100, 100))
    assert small.k[2] == pytest.approx(49.5) and small.k[5] == pytest.approx(49.5)


def test_never_enlarged():
    with pytest.raises(ValueError, match="smaller"):
        CameraModel.from_fov((50, 50), 60.0).at_record_size((96, 128))
