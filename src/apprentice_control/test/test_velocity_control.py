"""Force-limited joint velocity control (spec 001c section 1.1, C36) and the abort within 20 ms (X2)."""

from __future__ import annotations

import numpy as np
import pytest
from arms import Rig

from apprentice_control.drive import VelocityDrive
from apprentice_control.spline import SplineSetpoint
from apprentice_core.config import Limits, load_robot
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import cartesian_displacement

SPEED, ACCELERATION = np.array([0.9, 0.7]), np.array([3.5, 2.5])
SPACE = cartesian_displacement()
PROFILE = load_robot("sawyer_velocity")


def track(spline: SplineSetpoint, limit: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    positions, velocities = [spline.position.copy()], [spline.velocity.copy()]
    for _ in range(limit):
        spline.advance()
        positions.append(spline.position.copy())
        velocities.append(spline.velocity.copy())
        if not spline.moving:
            return np.array(positions), np.array(velocities)
    raise AssertionError("it never arrives")


def make() -> SplineSetpoint:
    return SplineSetpoint(2, 0.001, SPEED, ACCELERATION)


def test_a_small_move_takes_one_policy_period_from_the_joints_own_speed_to_rest() -> None:
    spline = make()
    spline.seed(np.array([0.1, 0.2]), np.array([0.02, -0.01]))
    spline.move_to(np.array([0.105, 0.199]), 100)
    positions, velocities = track(spline)
    assert len(positions) == 101
    np.testing.assert_allclose(positions[-1], [0.105, 0.199])
    np.testing.assert_allclose(velocities[1], [0.02, -0.01], atol=0.004)
    assert not velocities[-1].any() and np.abs(velocities[-2]).max() < 0.004
    np.testing.assert_allclose(np.diff(positions, axis=0) / 0.001, 0.5 * (velocities[1:] + velocities[:-1]), atol=1e-3)


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.6])
@pytest.mark.parametrize("way", [0.02, 0.3, -1.0])
def test_a_move_that_would_break_a_cap_takes_longer_and_ends_at_the_same_place(way: float, slope: float) -> None:
    spline = make()
    spline.seed(np.zeros(2), np.array([slope, 0.0]))
    spline.move_to(np.array([way, 0.01]), 100)
    positions, velocities = track(spline)
    np.testing.assert_allclose(positions[-1], [way, 0.01])
    assert (np.abs(velocities) <= SPEED + 1e-6).all()
    accelerations = np.diff(velocities[:-1], axis=0) / 0.001
    assert (np.abs(accelerations) <= ACCELERATION * 1.01 + 1e-6).all()
    assert len(positions) > 101


def test_braking_comes_to_rest_within_the_acceleration_and_short_of_the_goal() -> None:
    spline = make()
    spline.seed(np.zeros(2))
    spline.move_to(np.array([0.5, 0.1]), 100)
    for _ in range(300):
        spline.advance()
    moving, at = spline.velocity.copy(), spline.position.copy()
    spline.brake(50)
    spline.brake(5000)
    positions, velocities = track(spline)
    assert moving[0] > 0.3 and (np.abs(np.diff(velocities, axis=0) / 0.001) <= ACCELERATION * 1.01).all()
    assert at[0] < positions[-1][0] < 0.5 and not velocities[-1].any()


def follow(rig: Rig) -> None:
    """Makes the arm do what it is told: joint speeds, for one cycle."""
    if rig.arm.commanded is not None:
        rig.arm.velocity = rig.arm.commanded.copy()
        rig.arm.position = rig.arm.position + rig.arm.commanded * rig.arm.period


def make_rig() -> Rig:
    rig = Rig(PROFILE)
    rig.follow = False
    return rig


def test_the_arm_is_told_speeds_within_the_caps_and_a_bounded_effort() -> None:
    rig, told = make_rig(), []

    def each() -> None:
        follow(rig)
        told.append(rig.arm.commanded.copy())  # type: ignore[union-attr]

    start = rig.loop.kinematics.forward(rig.arm.position).position
    for _ in range(6):
        record = rig.act([1.0, 0.0, 0.0], SPACE, each=each)
        assert record.outcome == "applied"
    for _ in range(4):
        rig.act([0.0, 0.0, 0.0], SPACE, each=each)
    rig.run(200, each)
    speeds, limits = np.array(told), PROFILE.limits
    assert (np.abs(speeds) <= np.array(limits.joint_velocity) + 1e-9).all()
    assert (np.abs(np.diff(speeds, axis=0)) <= np.array(limits.joint_acceleration) * 0.001 + 1e-9).all()
    moved = rig.loop.kinematics.forward(rig.arm.position).position - start
    assert 0.03 < moved[0] < 0.061 and np.abs(moved[1:]).max() < 0.002 and np.abs(speeds[-1]).max() < 1e-3
    spare = rig.arm.effort - np.abs(rig.loop.kinematics.gravity(rig.arm.position))  # type: ignore[operator]
    assert (spare <= np.array(PROFILE.gains.tau_max) + 0.5).all()


def test_a_hard_force_turns_the_arm_round_within_20_ms_and_the_episode_is_over() -> None:
    rig = make_rig()
    for _ in range(5):
        rig.act([0.0, 0.0, -1.0], SPACE, each=lambda: follow(rig))
    assert rig.submit([0.0, 0.0, -1.0], SPACE)
    rig.run(30, lambda: follow(rig))
    height = rig.loop.kinematics.forward(rig.arm.position).position[2]
    pressed = rig.arm.commanded.copy()  # type: ignore[union-attr]
    rig.force[2] = 90.0
    rig.weigh()
    cycles = 0
    while rig.loop.state == "running" and cycles < 50:
        rig.run(1, lambda: follow(rig))
        cycles += 1
    assert rig.loop.state == "retreat" and cycles <= 20, "the filter's own delay counts as well"
    assert np.abs(rig.arm.commanded).max() <= 0.006, "from the cycle of detection on nothing presses any more"  # type: ignore[arg-type]
    rig.force[2] = 0.0
    rig.run(1500, lambda: follow(rig))
    away = rig.loop.kinematics.forward(rig.arm.position).position[2]
    assert away > height + 0.004 and np.abs(pressed).max() > 0.01
    done = rig.loop.applied()
    assert done is not None and (done.outcome, done.reason) == ("retreat", "force_limit")
    assert rig.act([0.0, 0.0, -1.0], SPACE).outcome == "hold", "the same episode may not press again"


@pytest.mark.parametrize("control", ["torque", "position", "velocity"])
def test_the_abort_ends_the_episode_in_the_cycle_of_detection_in_every_mode(control: str) -> None:
    rig = Rig(PROFILE.model_copy(update={"control": control}))
    rig.act([0.0, 0.0, -1.0], SPACE)
    assert rig.submit([0.0, 0.0, -1.0], SPACE)
    rig.run(10)
    rig.force[2] = 400.0
    rig.weigh()
    rig.run(1)
    assert rig.loop.applied().outcome == "retreat" and rig.loop.setpoint.moving  # type: ignore[union-attr]


def test_velocity_control_needs_its_caps() -> None:
    bare = PROFILE.limits.model_copy(update={"joint_acceleration": None})
    rig = make_rig()
    with pytest.raises(ConfigError, match="joint_acceleration"):
        VelocityDrive(PROFILE, bare, rig.loop.kinematics, rig.arm)
    tight = Rig(PROFILE, Limits(joint_acceleration=(1.0,) * 7))
    assert tight.loop.limits.joint_acceleration == (1.0,) * 7
