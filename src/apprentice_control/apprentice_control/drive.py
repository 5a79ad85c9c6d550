"""How a set point becomes what the backend is told: torques (impedance), velocities or positions, as the profile's `control` says."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from apprentice_control.backend import ArmBackend
from apprentice_control.impedance import JointImpedance
from apprentice_control.kinematics import Kinematics
from apprentice_control.setpoint import JointSetpoint
from apprentice_control.spline import Setpoint, SplineSetpoint
from apprentice_core.config import Limits, RobotProfile
from apprentice_core.errors import ConfigError

GRAVITY_PERIOD, MASS_PERIOD = 0.004, 0.02
"""s between refreshes of the gravity torques and the mass matrix (ours)"""
TRACKING = 20.0
"""1/s: part of the position error that velocity control takes out in a second (ours)"""


class Drive(Protocol):
    """One cycle of control over a backend. `impedance` is None where there is none."""

    setpoint: Setpoint
    impedance: JointImpedance | None

    def engage(self, position: np.ndarray) -> None:
        """Takes the arm where it stands, [n] rad."""

    def relax(self) -> None:
        """After an abort: forgets what has built up."""

    def start(self, position: np.ndarray, velocity: np.ndarray) -> None:
        """A new move is about to begin, from these measured joints [n]."""

    def command(self, position: np.ndarray, velocity: np.ndarray) -> None:
        """One cycle, from measured joints [n]."""


class TorqueDrive:
    """Joint impedance with gravity compensation (spec 001c section 1.1)."""

    def __init__(self, profile: RobotProfile, kinematics: Kinematics, backend: ArmBackend):
        self.setpoint: Setpoint = JointSetpoint(kinematics.n, backend.period)
        self.impedance: JointImpedance | None
        self.impedance = self._law = JointImpedance(profile.gains, backend.period, kinematics.effort)
        self._kinematics, self._backend = kinematics, backend
        self._every = [max(1, round(p / backend.period)) for p in (GRAVITY_PERIOD, MASS_PERIOD)]
        self._cycle = 0

    def engage(self, position: np.ndarray) -> None:
        self._law.engage()
        self._law.set_dynamics(self._kinematics.gravity(position), self._kinematics.mass_diagonal(position))

    def relax(self) -> None:
        self._law.clear_integral()

    def start(self, position: np.ndarray, velocity: np.ndarray) -> None:
        """The set point goes on from where it is: the impedance forgives what is between."""

    def command(self, position: np.ndarray, velocity: np.ndarray) -> None:
        gravity_every, mass_every = self._every
        self._cycle += 1
        if self._cycle % gravity_every == 0:
            mass = self._kinematics.mass_diagonal(position) if self._cycle % mass_every < gravity_every else None
            self._law.set_dynamics(self._kinematics.gravity(position), mass)
        self._backend.command_torque(self._law.update(position, velocity, self.setpoint.position, self.setpoint.velocity))


class PositionDrive:
    """The arm's own position controller."""

    impedance: JointImpedance | None = None

    def __init__(self, kinematics: Kinematics, backend: ArmBackend):
        self.setpoint: Setpoint = JointSetpoint(kinematics.n, backend.period)
        self._backend = backend

    def engage(self, position: np.ndarray) -> None:
        """Nothing is built up."""

    def relax(self) -> None:
        """Nothing is built up."""

    def start(self, position: np.ndarray, velocity: np.ndarray) -> None:
        """The set point goes on from where it is."""

    def command(self, position: np.ndarray, velocity: np.ndarray) -> None:
        self._backend.command_position(self.setpoint.position)


class VelocityDrive:
    """Force-limited joint velocity control (spec 001c chapter 10, C36): the speed of a cubic that begins where the joints are.

    Each command is within the speed caps and no further from the last than the acceleration caps allow; the motors may give no more than
    gravity and the profile's `tau_max`. The hard force check of the loop aborts as in every mode.
    """

    impedance: JointImpedance | None = None

    def __init__(self, profile: RobotProfile, limits: Limits, kinematics: Kinematics, backend: ArmBackend):
        if limits.joint_acceleration is None or limits.joint_velocity is None:
            raise ConfigError(profile.name, "limits.joint_acceleration", "velocity control needs it")
        speed = np.minimum(np.array(limits.joint_velocity), kinematics.velocity)
        acceleration = np.array(limits.joint_acceleration)
        if len(acceleration) != kinematics.n:
            raise ConfigError(profile.name, "limits.joint_acceleration", f"{len(acceleration)} numbers for {kinematics.n} joints")
        self.setpoint: Setpoint
        self.setpoint = self._spline = SplineSetpoint(kinematics.n, backend.period, speed, acceleration)
        self._kinematics, self._backend, self._speed = kinematics, backend, speed
        self._change = acceleration * backend.period
        self._spare = np.array(profile.gains.tau_max)
        self._effort = kinematics.effort
        self._last = np.zeros(kinematics.n)
        self._every, self._cycle = max(1, round(GRAVITY_PERIOD / backend.period)), 0
        self._limit = self._effort.copy()

    def engage(self, position: np.ndarray) -> None:
        self._last[:] = 0.0
        self._refresh(position)

    def relax(self) -> None:
        """Away from a contact at once: what was commanded into it counts no more."""
        self._last[:] = 0.0

    def start(self, position: np.ndarray, velocity: np.ndarray) -> None:
        self._spline.seed(position, velocity)

    def _refresh(self, position: np.ndarray) -> None:
        self._limit = np.minimum(np.abs(self._kinematics.gravity(position)) + self._spare, self._effort)

    def command(self, position: np.ndarray, velocity: np.ndarray) -> None:
        self._cycle += 1
        if self._cycle % self._every == 0:
            self._refresh(position)
        wanted = self.setpoint.velocity + TRACKING * (self.setpoint.position - position)
        wanted = np.minimum(np.maximum(wanted, -self._speed), self._speed)
        self._last = np.minimum(np.maximum(wanted, self._last - self._change), self._last + self._change)
        self._backend.command_velocity(self._last, self._limit)


def make_drive(profile: RobotProfile, limits: Limits, kinematics: Kinematics, backend: ArmBackend) -> Drive:
    """The drive of the profile's `control`; ConfigError when the limits lack what it needs."""
    if profile.control == "torque":
        return TorqueDrive(profile, kinematics, backend)
    if profile.control == "velocity":
        return VelocityDrive(profile, limits, kinematics, backend)
    return PositionDrive(kinematics, backend)
