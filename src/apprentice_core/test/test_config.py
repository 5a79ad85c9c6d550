import pytest

from apprentice_core.config import Box, Limits, RobotProfile, TaskConfig, load_yaml, tightest
from apprentice_core.errors import ConfigError


def test_the_tightest_limit_holds_whoever_sets_it():
    robot = Limits(force_soft=20, joint_margin=0.05, workspace=Box(low=(0, 0, 0), high=(1, 1, 1)), joint_velocity=(1, 2))
    cell = Limits(force_soft=30, joint_margin=0.1, workspace=Box(low=(0.5, -1, 0.1), high=(2, 0.5, 2)), joint_velocity=(2, 1))
    limits = tightest(robot, cell, Limits())
    assert (limits.force_soft, limits.joint_margin, limits.joint_velocity) == (20, 0.1, (1, 1))
    assert limits.workspace == Box(low=(0.5, 0, 0.1), high=(1, 0.5, 1))
    assert limits.force_hard is None


def test_boxes_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match="low must be below high"):
        tightest(Limits(workspace=Box(low=(0, 0, 0), high=(1, 1, 1))), Limits(workspace=Box(low=(2, 0, 0), high=(3, 1, 1))))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("name: a\ntext: b\nscene: lift\ncameras: []\nproprio: []\nhorizon: 0\n", "horizon"),
        ("name: a\ntext: b\nscene: lift\ncameras: []\nproprio: []\nhorizn: 80\n", "horizn"),
        ("name: a\ntext: b\nscene: lift\ncameras: []\nproprio: []\nsuccess: {rise: .nan}\n", "success.rise"),
        ("name: a\nscene: lift\ncameras: []\nproprio: []\n", "text"),
        ("- just\n- a list\n", ""),
        ("a: [1,\n", "YAML"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(tmp_path, text, field):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_yaml(path, TaskConfig)
    assert str(path) in str(error.value) and field in str(error.value) and "\n" not in str(error.value)


def test_a_robot_without_complete_limits_is_refused(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(
        "{name: r, urdf: u, base_frame: b, tool_frame: t, wrench_joint: w, arm_joints: [a], control: position, home: [0],"
        " gripper: {joints: [g], open: [1], closed: [0], force: 1, speed: 1}, limits: {force_hard: 50}}"
    )
    with pytest.raises(ConfigError, match=r"missing linear_velocity, .*workspace.*force_soft"):
        load_yaml(path, RobotProfile)


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*No such file"):
        load_yaml(tmp_path / "nowhere.yaml", TaskConfig)
