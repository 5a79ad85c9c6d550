"""The cell spec that follows from the configs: the same for the simulated cell in one process and for the nodes."""

from __future__ import annotations

from collections.abc import Sequence

from apprentice_core.cell import CellSpec
from apprentice_core.config import CellConfig, Limits, RobotProfile, TaskConfig, tightest
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ActionSpace, ArraySpec, cartesian_displacement, cartesian_velocity_gripper, tool_velocity
from apprentice_core.streams import camera_stream, connection_stream, proprio_streams, tracked_stream

DISPLACEMENT = 0.01
"""m a step and axis, where no limit says another (spec 001c section 1.2)"""


def effective_limits(robot: RobotProfile, cell: CellConfig, task: TaskConfig) -> Limits:
    """The tightest of robot profile, cell and task (contract 8)."""
    return tightest(robot.limits, cell.limits, task.limits)


def policy_action_space(limits: Limits, task: TaskConfig) -> ActionSpace:
    """The task's space; full scale is what the caps allow, so that a policy's 1.0 is not cut."""
    if task.action == "cartesian_displacement":
        return cartesian_displacement(limits.displacement or DISPLACEMENT)
    if task.action == "tool_velocity":
        return tool_velocity(limits.linear_velocity or 0.1, limits.angular_velocity or 0.5)
    return cartesian_velocity_gripper(limits.linear_velocity or 0.1, limits.angular_velocity or 0.5)


def choose_cameras(cell: CellConfig, task: TaskConfig, cameras: str | Sequence[str]) -> tuple[str, ...]:
    """`agent`: what the task's agent sees; `all`: every camera of the cell; `none`; or names. ConfigError for an unknown one."""
    chosen: Sequence[str]
    if isinstance(cameras, str):
        chosen = {"agent": task.cameras, "all": tuple(cell.cameras), "none": ()}.get(cameras, tuple(c for c in cameras.split(",") if c))
    else:
        chosen = cameras
    unknown = [c for c in chosen if c not in cell.cameras]
    if unknown:
        raise ConfigError(cell.name, "cameras", f"no camera {unknown[0]!r}; known: {', '.join(cell.cameras)}")
    return tuple(chosen)


def make_cell_spec(
    robot: RobotProfile, cell: CellConfig, task: TaskConfig, cameras: Sequence[str], objects: Sequence[str] = (),
    capabilities: Sequence[str] = (),
) -> CellSpec:
    """`cameras`: those that are really there; `objects`: names with privileged poses (simulation or a tracker)."""
    if cell.scene != task.scene:
        raise ConfigError(task.name, "scene", f"task needs scene {task.scene!r}, cell {cell.name} has {cell.scene!r}")
    signals = (connection_stream(),) if cell.connection else ()
    if cell.poses == "tracked" and not task.markers:
        raise ConfigError(task.name, "markers", f"cell {cell.name} tracks its objects by markers, and none is on them")
    poses = tuple(tracked_stream(n) for n in task.markers) if cell.poses == "tracked" else ()
    streams = (*proprio_streams(robot), *signals, *poses, *(camera_stream(c, cell.cameras[c]) for c in cameras))
    privileged = tuple(
        ArraySpec(f"object/{o}/{k}", shape, unit=unit)
        for o in objects for k, shape, unit in (("pose", (7,), "m, xyzw"), ("twist", (6,), "m/s, rad/s"))
    )
    space = policy_action_space(effective_limits(robot, cell, task), task)
    return CellSpec(
        cell.name, robot.name, task.name, streams, privileged, space, cell.timing, robot.base_frame, robot.tool_frame,
        frozenset(capabilities),
    )
