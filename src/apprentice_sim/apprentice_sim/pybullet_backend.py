"""The simulated arm behind control's ArmBackend protocol (entry point `apprentice.backends: pybullet`)."""

from __future__ import annotations

import numpy as np
import pybullet as p

from apprentice_control.backend import ArmState
from apprentice_core.config import CellConfig, RobotProfile, TaskConfig
from apprentice_sim.connection import make_connection
from apprentice_sim.scenes import make_scene
from apprentice_sim.world import World

FINGER_GAIN = 0.15
"""position gain of the finger motors, 1/step (ours)"""


class PyBulletBackend:
    """One simulated arm. Torques and positions hold until the next command, although PyBullet itself forgets a torque after one step.

    The fingers are coupled as the two of a parallel gripper are, by a gear; their motors have the profile's force and speed.
    `start`: stamp of the first state, s.
    """

    capabilities = frozenset({"scene", "save_state", "lockstep"})

    def __init__(self, profile: RobotProfile, world: World, start: float = 0.0):
        self.profile, self.world = profile, world
        self.period = 1.0 / world.rate
        self.start, self.steps = start, 0
        self.connection = make_connection(world)
        """the connection signal of a world with a plug and a socket, else None"""
        self._client, self._robot = world.client, world.robot
        self._arm = [world.joint_index[j] for j in profile.arm_joints]
        self._fingers = [world.joint_index[j] for j in profile.gripper.joints]
        self._read = [*self._arm, *self._fingers, world.joint_index[profile.wrench_joint]]
        self._n, self._g = len(self._arm), len(self._fingers)
        self._open, self._closed = np.array(profile.gripper.open), np.array(profile.gripper.closed)
        self._torque: list[float] | None = None
        self._closing: float | None = None
        self._version = -1
        self._couple_fingers()
        if profile.control == "torque":
            self._release_motors()
        elif profile.control == "velocity":
            self.stop_commanding()
        else:
            self.command_position(np.array(profile.home))
        self.command_gripper(0.0)

    def _couple_fingers(self) -> None:
        """Keeps the pads symmetric about the tool, as the linkage of a real parallel gripper does; it does not touch what they hold."""
        if self._g != 2:
            return
        parent, child = self._fingers
        gear = p.createConstraint(self._robot, parent, self._robot, child, p.JOINT_GEAR, [0, 1, 0], [0, 0, 0], [0, 0, 0],
                                  physicsClientId=self._client)
        ratio = -1.0 if (self._open[0] - self._closed[0]) * (self._open[1] - self._closed[1]) > 0 else 1.0
        p.changeConstraint(gear, gearRatio=ratio, maxForce=200.0, erp=0.3, physicsClientId=self._client)

    def _release_motors(self) -> None:
        p.setJointMotorControlArray(self._robot, self._arm, p.VELOCITY_CONTROL, forces=[0.0] * self._n, physicsClientId=self._client)

    @property
    def stamp(self) -> float:
        """Time of the present state, s."""
        return self.start + self.steps * self.period

    def read(self) -> ArmState:
        """Measured state of the last physics step; effort is what the motors gave in it."""
        states = p.getJointStates(self._robot, self._read, physicsClientId=self._client)
        positions, velocities, reactions, efforts = zip(*states, strict=True)
        n, m, k = self._n, self._n + self._g, len(positions)
        # One array for all of it: this runs a thousand times a simulated second.
        flat = np.array((*positions, *velocities, *efforts, *reactions[m]))
        if self._torque is not None:
            # A torque given from outside is no motor's, so PyBullet reports zero for it.
            flat[2 * k : 2 * k + n] = self._torque
        # Bullet gives what the arm does to the tool; the suite's sign is on the tool by the world.
        wrench = -flat[3 * k :]
        stamp = self.stamp
        return ArmState(
            stamp, flat[:n], flat[k : k + n], flat[2 * k : 2 * k + n],
            flat[n:m], flat[k + n : k + m], flat[2 * k + n : 2 * k + m], wrench, stamp,
        )

    def command_torque(self, torque: np.ndarray) -> None:
        if self._torque is None:
            self._release_motors()
        self._torque = torque.tolist()

    def command_position(self, position: np.ndarray) -> None:
        self._torque = None
        p.setJointMotorControlArray(
            self._robot, self._arm, p.POSITION_CONTROL, targetPositions=position.tolist(), forces=self._efforts(),
            physicsClientId=self._client,
        )

    def command_velocity(self, velocity: np.ndarray, effort: np.ndarray) -> None:
        self._torque = None
        p.setJointMotorControlArray(
            self._robot, self._arm, p.VELOCITY_CONTROL, targetVelocities=velocity.tolist(), forces=effort.tolist(),
            physicsClientId=self._client,
        )

    def _efforts(self) -> list[float]:
        return [p.getJointInfo(self._robot, j, physicsClientId=self._client)[10] for j in self._arm]

    def command_gripper(self, closed: float) -> None:
        """0 open .. 1 closed. Fingers close no further than what they hold; opening them lets it go."""
        grip = self.world.grip
        if grip is not None and grip.holds:
            around = 1.0 - self.world.grip_share(grip.width)
            if closed < around - 1e-6:
                grip.release()
            else:
                closed = around
        if closed == self._closing:
            return
        self._closing = closed
        goal = self._open + closed * (self._closed - self._open)
        for joint, target in zip(self._fingers, goal.tolist(), strict=True):
            p.setJointMotorControl2(
                self._robot, joint, p.POSITION_CONTROL, targetPosition=target, force=self.profile.gripper.force,
                maxVelocity=self.profile.gripper.speed, positionGain=FINGER_GAIN, physicsClientId=self._client,
            )

    def stop_commanding(self) -> None:
        """The brakes: every joint is held at zero velocity by its own motor until the next command."""
        self._torque = None
        p.setJointMotorControlArray(self._robot, self._arm, p.VELOCITY_CONTROL, targetVelocities=[0.0] * self._n, forces=self._efforts(),
                                    physicsClientId=self._client)

    def advance(self) -> None:
        """One physics step of `period` seconds."""
        if self._version != self.world.version:
            self._version = self.world.version
            if self.world.grip is not None:
                self.command_gripper(1.0)
        if self._torque is not None:
            p.setJointMotorControlArray(self._robot, self._arm, p.TORQUE_CONTROL, forces=self._torque, physicsClientId=self._client)
        self.world.step()
        self.steps += 1

    def close(self) -> None:
        self.world.close()


def make_backend(profile: RobotProfile, cell: CellConfig, task: TaskConfig, seed: int | None = None) -> PyBulletBackend:
    """The world of a cell with a task's objects placed by `seed`, and the arm in it."""
    world = World(profile, rate=cell.physics_rate, scene=make_scene(cell.scene, task))
    world.reset_scene(seed=seed)
    return PyBulletBackend(profile, world)
