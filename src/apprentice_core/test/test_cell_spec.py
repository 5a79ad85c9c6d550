"""The cell spec survives JSON, and a hostile one is refused with its field."""

import json

import pytest

from apprentice_core.cell import CellSpec
from apprentice_core.cell_spec import GripperJoints, RobotJoints, cell_spec_from_json, cell_spec_to_json
from apprentice_core.config import CameraConfig, Timing
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec, cartesian_velocity_gripper
from apprentice_core.streams import camera_stream, proprio_streams

ROBOT = RobotJoints("arm", ("j0", "j1"), GripperJoints(("left", "right")))


def make_spec() -> CellSpec:
    camera = camera_stream("front", CameraConfig(position=(1, 0, 1), look_at=(0, 0, 0)))
    return CellSpec(
        "cell", "arm", "lift", (*proprio_streams(ROBOT), camera), (ArraySpec("object/red/pose", (7,)),), cartesian_velocity_gripper(),
        Timing(), "base", "tool", frozenset({"render_goal"}),
    )


def test_round_trip_keeps_everything() -> None:
    spec = make_spec()
    again, robot = cell_spec_from_json(cell_spec_to_json(spec, ROBOT))
    assert again == spec and robot == ROBOT
    assert again.action_space.hash == spec.action_space.hash


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("streams", 0, "type"), "os.system", "streams.0.type"),
        (("streams", 0, "arrays", 0, "dtype"), "O", "streams.0.arrays.0.dtype"),
        (("timing", "control_period"), -1, "timing.control_period"),
        (("format",), 2, "format"),
        (("streams", 0, "name"), "nonsense", "streams.0.name"),
    ],
)
def test_wrong_field_is_named(path: tuple, value: object, field: str) -> None:
    raw = json.loads(cell_spec_to_json(make_spec(), ROBOT))
    node = raw
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(ConfigError, match=field.replace(".", r"\.")) as caught:
        cell_spec_from_json(json.dumps(raw))
    assert caught.value.field == field


def test_not_json_and_too_long_are_refused() -> None:
    with pytest.raises(ConfigError, match="not JSON"):
        cell_spec_from_json("{")
    with pytest.raises(ConfigError, match="characters"):
        cell_spec_from_json(" " * (2 << 20))
