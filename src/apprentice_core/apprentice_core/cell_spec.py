"""The cell spec as JSON: the latched topic `cell_spec`, and a message in every bag, so that a bag explains itself.

The joint names of the robot go with the spec, because they are what turns a JointState into arrays; the rest of the robot's profile
stays in config, where it may change without making old bags unreadable.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import Field, ValidationError

from apprentice_core.cell import CellSpec, StreamSpec
from apprentice_core.config import Strict, Timing
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ActionDimension, ActionSpace, ArraySpec
from apprentice_core.streams import JointNames, extractor

CELL_SPEC_FORMAT = 1
CELL_SPEC_TOPIC = "cell_spec"
MAX_CELL_SPEC = 1 << 20
"""characters; a longer text is refused (ours)"""


@dataclass(frozen=True)
class GripperJoints:
    """Joint names of the gripper, as `RobotProfile.gripper.joints`."""

    joints: tuple[str, ...]


@dataclass(frozen=True)
class RobotJoints:
    """The part of a RobotProfile that `streams.extractor` needs."""

    name: str
    arm_joints: tuple[str, ...]
    gripper: GripperJoints


class _Array(Strict):
    name: str = Field(min_length=1, max_length=200)
    shape: tuple[int, ...] = Field(max_length=8)
    dtype: str = Field(pattern=r"^(u?int(8|16|32|64)|float(16|32|64)|bool)$")
    unit: str = Field("", max_length=100)


class _Stream(Strict):
    name: str = Field(min_length=1, max_length=200)
    topic: str = Field(min_length=1, max_length=200)
    type: str = Field(pattern=r"^[a-z0-9_]+/msg/[A-Za-z0-9]+$")
    arrays: tuple[_Array, ...] = Field(max_length=64)
    max_age: float = Field(gt=0)


class _Dimension(Strict):
    name: str = Field(max_length=200)
    low: float
    high: float
    unit: str = ""
    binary: bool = False


class _ActionSpace(Strict):
    name: str = Field(max_length=200)
    frame: str = Field(max_length=200)
    dimensions: tuple[_Dimension, ...] = Field(max_length=128)


class _Robot(Strict):
    name: str = Field(max_length=200)
    arm_joints: tuple[str, ...] = Field(max_length=64)
    gripper_joints: tuple[str, ...] = Field(max_length=64)


class _CellSpec(Strict):
    format: int = Field(ge=CELL_SPEC_FORMAT, le=CELL_SPEC_FORMAT)
    name: str = Field(max_length=200)
    task: str = Field(max_length=200)
    robot: _Robot
    streams: tuple[_Stream, ...] = Field(max_length=64)
    privileged: tuple[_Array, ...] = Field(max_length=256)
    action_space: _ActionSpace
    timing: Timing
    base_frame: str
    tool_frame: str
    capabilities: tuple[str, ...] = Field(max_length=64)


def _array(a: ArraySpec) -> _Array:
    return _Array(name=a.name, shape=a.shape, dtype=a.dtype, unit=a.unit)


def _from_array(a: _Array) -> ArraySpec:
    return ArraySpec(a.name, a.shape, a.dtype, a.unit)


def cell_spec_to_json(spec: CellSpec, robot: JointNames) -> str:
    """One JSON object, keys sorted: equal specs give equal text."""
    space = spec.action_space
    model = _CellSpec(
        format=CELL_SPEC_FORMAT,
        name=spec.name,
        task=spec.task,
        robot=_Robot(name=spec.robot, arm_joints=robot.arm_joints, gripper_joints=robot.gripper.joints),
        streams=tuple(
            _Stream(name=s.name, topic=s.topic, type=s.type, arrays=tuple(map(_array, s.arrays)), max_age=s.max_age) for s in spec.streams
        ),
        privileged=tuple(map(_array, spec.privileged)),
        action_space=_ActionSpace(
            name=space.name, frame=space.frame, dimensions=tuple(_Dimension(**vars(d)) for d in space.dimensions)
        ),
        timing=spec.timing,
        base_frame=spec.base_frame,
        tool_frame=spec.tool_frame,
        capabilities=tuple(sorted(spec.capabilities)),
    )
    return json.dumps(model.model_dump(mode="json"), sort_keys=True)


def cell_spec_from_json(text: str) -> tuple[CellSpec, RobotJoints]:
    """The inverse; ConfigError names the wrong field. The text may come from a stranger's bag: sizes are bounded."""
    if len(text) > MAX_CELL_SPEC:
        raise ConfigError("cell_spec", "", f"{len(text)} characters, more than {MAX_CELL_SPEC}")
    try:
        m = _CellSpec.model_validate(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError("cell_spec", "", f"is not JSON ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError("cell_spec", ".".join(map(str, first["loc"])), first["msg"]) from error
    robot = RobotJoints(m.robot.name, m.robot.arm_joints, GripperJoints(m.robot.gripper_joints))
    streams = tuple(StreamSpec(s.name, s.topic, s.type, tuple(map(_from_array, s.arrays)), s.max_age) for s in m.streams)
    for i, stream in enumerate(streams):
        try:
            extractor(stream, robot)
        except KeyError as error:
            raise ConfigError("cell_spec", f"streams.{i}.name", f"no stream is called {stream.name!r}") from error
    space = ActionSpace(
        m.action_space.name,
        tuple(ActionDimension(d.name, d.low, d.high, d.unit, d.binary) for d in m.action_space.dimensions),
        m.action_space.frame,
    )
    spec = CellSpec(
        m.name, m.robot.name, m.task, streams, tuple(map(_from_array, m.privileged)), space, m.timing, m.base_frame, m.tool_frame,
        frozenset(m.capabilities),
    )
    return spec, robot
