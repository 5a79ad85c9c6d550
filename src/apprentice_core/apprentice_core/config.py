"""Typed configuration: robot profiles, cells and tasks (YAML in config/), refused with the path of the wrong field."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apprentice_core.errors import ConfigError
from apprentice_core.paths import config_path, share_dir

Vector3 = tuple[float, float, float]
Model = TypeVar("Model", bound="Strict")


class Strict(BaseModel):
    """Unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Box(Strict):
    """Axis-aligned box in the base frame, metres."""

    low: Vector3
    high: Vector3

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        if any(lo >= hi for lo, hi in zip(self.low, self.high, strict=True)):
            raise ValueError("low must be below high on every axis")
        return self


class Limits(Strict):
    """What no policy can lift. Robot, cell and task may each set any of them; the tightest holds (contract 8)."""

    linear_velocity: float | None = Field(None, gt=0, description="per-axis cap of the tool, m/s")
    angular_velocity: float | None = Field(None, gt=0, description="per-axis cap of the tool, rad/s")
    displacement: float | None = Field(None, gt=0, description="per-axis, per-step cap of the tool, m")
    workspace: Box | None = None
    rotation: Vector3 | None = Field(None, description="largest |rotation vector| component from the home orientation, rad")
    joint_velocity: tuple[float, ...] | None = Field(None, description="rad/s per joint")
    joint_acceleration: tuple[float, ...] | None = Field(None, description="rad/s^2 per joint; what velocity control needs")
    joint_margin: float | None = Field(None, ge=0, description="kept from each joint's position limits, rad")
    force_slow: float | None = Field(
        None, gt=0, description="from here to force_soft the advance against the force is slowed down to nothing, N; None: not slowed"
    )
    force_soft: float | None = Field(None, gt=0, description="stop advancing along the violating axis, N")
    force_hard: float | None = Field(None, gt=0, description="abandon the motion and retreat, N")
    sensor_timeout: float | None = Field(None, gt=0, description="older joint or wrench data means hold, s")
    command_timeout: float | None = Field(None, gt=0, description="no answer for so long means hold, s")


def tightest(*limits: Limits) -> Limits:
    """The effective limits: the smallest of each bound, the intersection of the workspaces, the largest joint margin."""
    merged: dict[str, object] = {}
    for name in Limits.model_fields:
        values = [v for v in (getattr(x, name) for x in limits) if v is not None]
        if not values:
            continue
        if name == "workspace":
            low = np.max([v.low for v in values], axis=0)
            high = np.min([v.high for v in values], axis=0)
            merged[name] = Box(low=tuple(map(float, low)), high=tuple(map(float, high)))
        elif name == "joint_margin":
            merged[name] = max(values)
        elif isinstance(values[0], tuple):
            merged[name] = tuple(float(x) for x in np.min(np.asarray(values), axis=0))
        else:
            merged[name] = min(values)
    return Limits.model_validate(merged)


class ImpedanceGains(Strict):
    """Spec 001c section 1.1; per-joint lists or one number for all."""

    kp: tuple[float, ...] | float = 100.0
    kd: tuple[float, ...] | float | None = Field(None, description="None: 2 zeta sqrt(kp M_jj) at each configuration")
    zeta: float = Field(0.8, gt=0)
    ki: float = Field(20.0, ge=0)
    anti_windup_time: float = Field(0.1, gt=0)
    tau_max: tuple[float, ...] = (8, 7, 6, 5, 4, 3, 2)
    ramp: float = Field(0.1, ge=0, description="stiffness ramp on engage, s")
    velocity_feedforward: bool = Field(
        False, description="damping acts on the error to the set point's velocity (ours), else on the velocity (spec)"
    )
    add_gravity: bool = Field(True, description="False for drivers whose torque mode compensates already")


class GripperProfile(Strict):
    """Open and closed positions of each finger joint, and what the fingers may exert."""

    joints: tuple[str, ...]
    open: tuple[float, ...] = Field(description="joint positions when open, m or rad")
    closed: tuple[float, ...]
    force: float = Field(gt=0, description="N per finger")
    speed: float = Field(gt=0, description="m/s or rad/s")


class RobotProfile(Strict):
    """config/robots/*.yaml: shipped and on by default; nothing starts without one."""

    name: str
    urdf: str = Field(description="path below the share folder")
    base_frame: str
    tool_frame: str
    wrench_joint: str = Field(description="fixed joint at which the wrist force sensor sits")
    arm_joints: tuple[str, ...]
    gripper: GripperProfile
    control: Literal["torque", "position", "velocity"] = Field(
        description="joint impedance, the arm's own position control, or force-limited joint velocities (spec 001c section 1.1)"
    )
    home: tuple[float, ...]
    gains: ImpedanceGains = ImpedanceGains()
    limits: Limits

    @model_validator(mode="after")
    def _lengths(self) -> RobotProfile:
        n = len(self.arm_joints)
        if len(self.home) != n:
            raise ValueError(f"home has {len(self.home)} numbers for {n} arm_joints")
        if self.control != "position" and len(self.gains.tau_max) != n:
            raise ValueError(f"gains.tau_max has {len(self.gains.tau_max)} numbers for {n} arm_joints")
        if self.control == "velocity" and self.limits.joint_acceleration is None:
            raise ValueError("limits.joint_acceleration: velocity control needs it")
        missing = [
            f for f in ("linear_velocity", "angular_velocity", "workspace", "rotation", "joint_velocity", "joint_margin",
                        "force_soft", "force_hard", "sensor_timeout", "command_timeout") if getattr(self.limits, f) is None
        ]
        if missing:
            raise ValueError(f"limits must be complete; missing {', '.join(missing)}")
        return self


class CameraConfig(Strict):
    """A camera of the cell. Sizes are (height, width). Cropped and resized once, in the camera node, to `record`."""

    mount: str = Field("world", description="'world' or the name of a robot link")
    position: Vector3 = Field(description="of the optical centre in the mount's frame, m")
    look_at: Vector3 = Field(description="a point in the mount's frame, m")
    up: Vector3 = (0.0, 0.0, 1.0)
    fov: float = Field(60.0, gt=1, lt=170, description="vertical, degrees")
    raw: tuple[int, int] = (96, 128)
    record: tuple[int, int] = (96, 128)
    depth: bool = False


Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]


class Marker(Strict):
    """A square fiducial marker (ArUco, dictionary 4X4_50) on a flat side of an object, in the frame of the object's pose."""

    id: int = Field(ge=0, lt=50)
    size: float = Field(gt=0, description="side of the black square, m")
    centre: Vector3 = Field(description="m")
    normal: Axis = Field(description="out of the object")
    up: Axis = Field("+z", description="towards the marker's upper edge")

    @model_validator(mode="after")
    def _flat(self) -> Marker:
        if self.normal[1] == self.up[1]:
            raise ValueError("up must lie in the marker's plane")
        return self


class TrackerConfig(Strict):
    """Block poses from cameras (spec 001c section 1.3, `tracker_node`). All numbers: ours."""

    cameras: tuple[str, ...] = Field(min_length=1, description="fixed cameras of the cell that look at the markers")
    corner_error: float = Field(0.2, gt=0, description="standard deviation of a corner that was found, pixels; the least that is believed")
    max_residual: float = Field(1.5, gt=0, description="root mean square beyond which a fit is no pose, pixels")
    drift: float = Field(0.02, ge=0, description="growth of the deviation of a pose while its object is hidden, m/s")
    turn: float = Field(0.3, ge=0, description="the same of its orientation, rad/s")
    lost_after: float = Field(0.5, gt=0, description="an object that was not seen for so long has no pose any more, s")


class Timing(Strict):
    """Simulation: injected and seeded. Robot: measured."""

    control_period: float = Field(0.1, gt=0)
    observation_delay: float = Field(0.0, ge=0)
    action_delay: float = Field(0.0, ge=0)
    jitter: float = Field(0.0, ge=0)


class CellConfig(Strict):
    """config/cells/*.yaml"""

    name: str
    robot: str
    scene: str
    backend: str = "pybullet"
    pace: Literal["lockstep", "realtime"] = "lockstep"
    timing: Timing = Timing()
    physics_rate: float = Field(1000.0, ge=240)
    cameras: dict[str, CameraConfig]
    limits: Limits = Limits()
    connection: bool = Field(False, description="a connection signal is there: stream `connection` (spec 001c section 1.3)")
    poses: Literal["privileged", "tracked"] = Field(
        "privileged", description="where `tracked/object/<name>/pose` comes from: the simulation's truth, or cameras (spec 001c A25)"
    )
    tracker: TrackerConfig | None = None

    @model_validator(mode="after")
    def _tracker(self) -> CellConfig:
        if self.poses == "tracked" and self.tracker is None:
            raise ValueError("poses: tracked needs a tracker")
        for name in self.tracker.cameras if self.tracker else ():
            camera = self.cameras.get(name)
            if camera is None or camera.mount != "world" or camera.depth:
                raise ValueError(f"tracker.cameras: {name!r} is no fixed colour camera of this cell")
        return self


class EvaluationStart(Strict):
    """A named start: where each object stands. Poses in the base frame: x, y, z (m), yaw (rad)."""

    objects: dict[str, tuple[float, float, float, float]]
    shapes: dict[str, str] = Field(default_factory=dict, description="object to shape name; the task's default where absent")


class TrialSet(Strict):
    """A condition of a supervised evaluation (spec 001c sections 2.5 and 3.5): `count` trials a policy, each with a seed of its own."""

    count: int = Field(ge=1, le=1000)
    start: str = Field("", description="start of the scene that the seed draws from")
    perturbation: float = Field(0.0, ge=0, le=0.01, description="of the commanded goal in x and y, with signs that the seed draws, m")


class TaskConfig(Strict):
    """config/tasks/*.yaml (spec 000 line 1)."""

    name: str
    text: str
    scene: str
    rule: str = Field("", description="which reward, success and expert (core's tasks); empty: the scene's own")
    horizon: int = Field(200, ge=1, description="control steps; 200 is the paper's")
    action: Literal["cartesian_velocity_gripper", "cartesian_displacement", "tool_velocity"] = Field(
        "cartesian_velocity_gripper",
        description="space of the policy: spec 000 section 2.4, spec 001c section 1.1 (orientation held), or spec 000 section 2.14",
    )
    cameras: tuple[str, ...] = Field(description="what the agent sees")
    record_cameras: tuple[str, ...] = Field((), description="further cameras to record")
    proprio: tuple[str, ...]
    target: str = Field("", description="object that the task is about")
    success: dict[str, float] = Field(default_factory=dict)
    markers: dict[str, tuple[Marker, ...]] = Field(default_factory=dict, description="on the objects, for a tracker; ids differ")
    connector: str = Field("", description="which plug and socket the scene `insertion` mounts (apprentice_sim.connectors)")
    scene_options: dict[str, float] = Field(default_factory=dict, description="numbers that the scene understands; it refuses others")
    limits: Limits = Limits()
    starts: dict[str, dict[str, EvaluationStart]] = Field(default_factory=dict, description="set name to start name to start")

    trials: dict[str, TrialSet] = Field(default_factory=dict, description="conditions in which people judge this task, by name")

    @model_validator(mode="after")
    def _sets_differ(self) -> TaskConfig:
        if both := sorted({*self.trials} & {*self.starts, "random", "all"}):
            raise ValueError(f"trials.{both[0]}: is the name of a set of starts")
        return self

    @model_validator(mode="after")
    def _markers_differ(self) -> TaskConfig:
        ids = [m.id for group in self.markers.values() for m in group]
        if len(ids) != len(set(ids)):
            raise ValueError("markers: two have the same id")
        return self


def _read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> object:
    """The file's data; `extends: <name>` lays its top-level fields over those of <name>.yaml in the same folder."""
    if path in seen:
        raise ConfigError(str(path), "extends", "extends itself")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"is not YAML ({' '.join(str(error).split())})") from error
    if isinstance(raw, dict) and "extends" in raw:
        name = raw.pop("extends")
        if not isinstance(name, str) or Path(name).name != name:
            raise ConfigError(str(path), "extends", "must name a config of the same folder")
        base = _read_yaml(path.with_name(f"{name}.yaml"), (*seen, path))
        if isinstance(base, dict):
            return {**base, **raw}
    return raw


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Reads and validates one file (and what it extends); ConfigError names the file and the path of the wrong field."""
    raw = _read_yaml(path)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])), first["msg"]) from error


def load_robot(name: str) -> RobotProfile:
    return load_yaml(config_path("robots", name), RobotProfile)


def load_cell(name: str) -> CellConfig:
    return load_yaml(config_path("cells", name), CellConfig)


def load_task(name: str) -> TaskConfig:
    return load_yaml(config_path("tasks", name), TaskConfig)


def urdf_path(robot: RobotProfile) -> Path:
    """The robot's URDF file; ConfigError when it is absent."""
    path = share_dir() / robot.urdf
    if not path.is_file():
        raise ConfigError(robot.name, "urdf", f"{path} does not exist")
    return path
