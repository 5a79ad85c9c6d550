"""One PyBullet world in this process: a robot, the fixtures of a scene and its movable objects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pybullet as p

from apprentice_core.config import RobotProfile, load_robot, urdf_path
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.rotations import matrix_from_rotation_vector, matrix_to_quaternion, quaternion_to_matrix
from apprentice_core.wrench import GRAVITY
from apprentice_sim.bodies import Body, body_from_json, body_to_json
from apprentice_sim.body_factory import BodyFactory
from apprentice_sim.cloth.dynamics import Cloth, cloth_from_json, cloth_to_json
from apprentice_sim.cloth.in_world import WorldCloth, WorldClothState
from apprentice_sim.grip import DOWN, Grip, Held
from apprentice_sim.scenes.scene import Scene

DESCRIPTION_FORMAT = 1
SOLVER_ITERATIONS = 20
"""a step; ours. Warm-started 1,000 times a second that is more than Bullet's own 50 at 240 Hz; at 10 a grasped block slips"""
FINGER_FRICTION = 1.2


@dataclass(frozen=True)
class WorldState:
    """A saved state; it fits only the set of bodies (`version`) that it was saved with."""

    handle: int
    version: int
    cloth: WorldClothState | None = None
    grip: tuple[np.ndarray, np.ndarray] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """The URDF loader prints to the C streams; its complaints come back as our own errors."""
    sys.stdout.flush()
    saved = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)


class World:
    """`rate`: physics steps a second. Equal worlds stepped equally stay equal, bit for bit, on one machine."""

    def __init__(self, profile: RobotProfile, bodies: Sequence[Body] = (), rate: float = 1000.0, scene: Scene | None = None):
        self.profile, self.rate, self.scene = profile, rate, scene
        self.client = p.connect(p.DIRECT)
        self.version = 0
        self.bodies: tuple[Body, ...] = ()
        self.cloth: WorldCloth | None = None
        self.grip: Grip | None = None
        self._uids: dict[str, int] = {}
        self._shifted: set[str] = set()
        self._factory = BodyFactory(self.client)
        p.setGravity(0.0, 0.0, -GRAVITY, physicsClientId=self.client)
        p.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / rate, numSolverIterations=SOLVER_ITERATIONS, deterministicOverlappingPairs=1,
            enableFileCaching=0, jointFeedbackMode=p.JOINT_FEEDBACK_IN_JOINT_FRAME, physicsClientId=self.client,
        )
        if scene is not None and scene.contact is not None:
            p.setPhysicsEngineParameter(
                numSolverIterations=scene.contact.iterations, contactERP=scene.contact.erp,
                contactBreakingThreshold=scene.contact.threshold, physicsClientId=self.client,
            )
        self.robot = self._load_robot()
        self.set_home()
        self.set_bodies(bodies if scene is None else (*scene.fixtures(), *bodies))

    # -- robot -------------------------------------------------------------------------------------------------------

    def _load_robot(self) -> int:
        path = urdf_path(self.profile)
        flags = p.URDF_USE_INERTIA_FROM_FILE | p.URDF_MAINTAIN_LINK_ORDER
        try:
            with _quiet():
                robot = p.loadURDF(str(path), useFixedBase=True, flags=flags, physicsClientId=self.client)
        except p.error as error:
            raise ConfigError(str(path), "urdf", f"PyBullet cannot load it ({error})") from error
        self.joint_index: dict[str, int] = {}
        self.link_index: dict[str, int] = {self.profile.base_frame: -1}
        self.movable: list[int] = []
        for i in range(p.getNumJoints(robot, physicsClientId=self.client)):
            info = p.getJointInfo(robot, i, physicsClientId=self.client)
            self.joint_index[info[1].decode()] = i
            self.link_index[info[12].decode()] = i
            if info[2] != p.JOINT_FIXED:
                self.movable.append(i)
            # Bullet's own damping of free motion is no property of the arm.
            p.changeDynamics(robot, i, linearDamping=0.0, angularDamping=0.0, physicsClientId=self.client)
        wanted = (*self.profile.arm_joints, *self.profile.gripper.joints, self.profile.wrench_joint)
        absent = [j for j in wanted if j not in self.joint_index]
        if absent:
            raise ConfigError(str(path), "joint", f"the profile {self.profile.name} names joints that are absent: {', '.join(absent)}")
        for name in self.profile.gripper.joints:
            p.changeDynamics(robot, self.joint_index[name], lateralFriction=FINGER_FRICTION, restitution=0.0,
                             physicsClientId=self.client)
        p.enableJointForceTorqueSensor(robot, self.joint_index[self.profile.wrench_joint], True, physicsClientId=self.client)
        return int(robot)

    def set_home(self) -> None:
        """Puts the robot at its home position, gripper open, at rest."""
        self.set_robot(self.profile.home, self.profile.gripper.open)

    def set_robot(self, arm: Sequence[float], gripper: Sequence[float]) -> None:
        names = (*self.profile.arm_joints, *self.profile.gripper.joints)
        for name, value in zip(names, (*arm, *gripper), strict=True):
            p.resetJointState(self.robot, self.joint_index[name], float(value), 0.0, physicsClientId=self.client)

    def link_pose(self, link: str) -> tuple[np.ndarray, np.ndarray]:
        """(position [3], quaternion xyzw [4]) of a link frame in the base frame; KeyError when the robot has no such link."""
        index = self.link_index[link]
        if index < 0:
            return np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])
        state = p.getLinkState(self.robot, index, computeForwardKinematics=1, physicsClientId=self.client)
        return np.array(state[4]), np.array(state[5])

    # -- bodies ------------------------------------------------------------------------------------------------------

    def set_bodies(self, bodies: Sequence[Body], cloth: Cloth | None = None) -> None:
        """Makes the world hold exactly these bodies, and this cloth, which lies still; bodies that are as before are not touched."""
        if self.grip is not None:
            self.grip.release()
            self.grip = None
        fresh = {b.name: b for b in bodies}
        old = {b.name: b for b in self.bodies}
        for name, body in old.items():
            if body.mass > 0 or fresh.get(name) != body:
                p.removeBody(self._uids.pop(name), physicsClientId=self.client)
        for body in bodies:
            if body.name not in self._uids:
                self._uids[body.name] = self._factory.create(body)
            elif body.name in self._shifted:
                p.resetBasePositionAndOrientation(self._uids[body.name], body.pose[:3], body.pose[3:], physicsClientId=self.client)
        self._shifted.clear()
        self.bodies = tuple(bodies)
        self.cloth = None if cloth is None else WorldCloth(self, cloth)
        self.version += 1

    def reset_scene(self, initial_state: str = "", seed: int | None = None) -> None:
        """Takes the movable objects out and places new ones; the robot stays as it is. ApprenticeError for an unknown start."""
        if self.scene is None:
            raise ApprenticeError("this world is a mirror: it has no scene to reset")
        held = self.scene.held(initial_state, seed)
        placed = self.scene.place(initial_state, seed) if held is None else (*self.scene.place(initial_state, seed), self._in_hand(held))
        self.set_bodies((*self.scene.fixtures(), *map(self.scene.marked, placed)), self.scene.cloth(initial_state, seed))
        if held is not None:
            self.grip = Grip(self, held.body.name, held.width)
            share = self.grip_share(held.width)
            g = self.profile.gripper
            for joint, shut, wide in zip(g.joints, g.closed, g.open, strict=True):
                p.resetJointState(self.robot, self.joint_index[joint], shut + share * (wide - shut), 0.0, physicsClientId=self.client)

    def _in_hand(self, held: Held) -> Body:
        """The held body where the fingers have it, wherever the tool is."""
        at, quaternion = self.link_pose(self.profile.tool_frame)
        turn = quaternion_to_matrix(quaternion) @ DOWN
        pose = (*(at + turn @ np.array(held.position)), *matrix_to_quaternion(turn @ matrix_from_rotation_vector(np.array(held.rotation))))
        return replace(held.body, pose=tuple(float(x) for x in pose))

    def grip_share(self, width: float) -> float:
        """How far the gripper stands open with `width` m between its pads: 0 closed .. 1 open."""
        g = self.profile.gripper
        return width / sum(abs(wide - shut) for wide, shut in zip(g.open, g.closed, strict=True))

    def shift(self, names: Sequence[str], by: Sequence[float]) -> None:
        """Moves bodies that stand where they stand (a socket that was knocked aside) by [3] m; KeyError for an unknown name."""
        for name in names:
            position, quaternion = p.getBasePositionAndOrientation(self._uids[name], physicsClientId=self.client)
            moved = [a + b for a, b in zip(position, by, strict=True)]
            self._shifted.add(name)
            p.resetBasePositionAndOrientation(self._uids[name], moved, quaternion, physicsClientId=self.client)

    def sleep(self) -> None:
        """Lets objects at rest sleep until something touches them: a block on the floor costs as much as half an arm to keep awake."""
        for body in self.bodies:
            if body.mass > 0 and (self.grip is None or body.name != self.grip.name):
                for state in (p.ACTIVATION_STATE_ENABLE_SLEEPING, p.ACTIVATION_STATE_SLEEP):
                    p.changeDynamics(self._uids[body.name], -1, activationState=state, physicsClientId=self.client)

    def uid(self, name: str) -> int:
        return self._uids[name]

    def objects(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Movable and tracked objects, and points of a cloth: name -> (pose [7]: xyz xyzw, twist [6]: m/s, rad/s) of their origins, base
        frame, float64. Privileged."""
        out = {}
        for body in self.bodies:
            if body.mass > 0 or body.tracked:
                uid = self._uids[body.name]
                position, quaternion = p.getBasePositionAndOrientation(uid, physicsClientId=self.client)
                linear, angular = p.getBaseVelocity(uid, physicsClientId=self.client)
                pose, twist = np.array(position + quaternion), np.array(linear + angular)
                if any(body.origin):
                    arm = quaternion_to_matrix(pose[3:]) @ np.array(body.origin)
                    pose[:3] += arm
                    twist[:3] += np.cross(twist[3:], arm)
                out[body.name] = (pose, twist)
        return out if self.cloth is None else {**out, **self.cloth.objects()}

    # -- time and state ----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One physics step of 1 / rate seconds."""
        if self.cloth is not None:
            self.cloth.before_step()
        p.stepSimulation(physicsClientId=self.client)
        if self.grip is not None:
            self.grip.after_step()
        if self.cloth is not None:
            self.cloth.after_step()

    def save_state(self) -> WorldState:
        cloth = None if self.cloth is None else self.cloth.save()
        grip = None if self.grip is None else self.grip.place
        return WorldState(int(p.saveState(physicsClientId=self.client)), self.version, cloth, grip)

    def restore_state(self, state: WorldState) -> None:
        """ApprenticeError when bodies were added, removed or reshaped since."""
        if state.version != self.version:
            raise ApprenticeError("the saved state belongs to another placement of the objects")
        p.restoreState(stateId=state.handle, physicsClientId=self.client)
        if self.grip is not None and state.grip is not None:
            self.grip.put(state.grip)
        if self.cloth is not None and state.cloth is not None:
            self.cloth.restore(state.cloth)

    def drop_state(self, state: WorldState) -> None:
        p.removeState(state.handle, physicsClientId=self.client)

    # -- mirrors -----------------------------------------------------------------------------------------------------

    def description(self) -> str:
        """JSON from which `World.mirror` builds the same picture; it changes with `version` only."""
        return json.dumps({
            "format": DESCRIPTION_FORMAT, "version": self.version, "robot": self.profile.name, "urdf": self.profile.urdf,
            "scene": "" if self.scene is None else self.scene.task.scene, "bodies": [body_to_json(b) for b in self.bodies],
            "cloth": None if self.cloth is None else cloth_to_json(self.cloth.cloth),
        })

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:
        """(positions of all movable joints in model order [J], poses of all bodies in scene order, 7 each, then the vertices of
        the cloth, 3 each [7 B + 3 V]), float64."""
        joints = np.array([s[0] for s in p.getJointStates(self.robot, self.movable, physicsClientId=self.client)])
        poses = np.empty((len(self.bodies), 7))
        for i, body in enumerate(self.bodies):
            position, quaternion = p.getBasePositionAndOrientation(self._uids[body.name], physicsClientId=self.client)
            poses[i, :3], poses[i, 3:] = position, quaternion
        return joints, poses.ravel() if self.cloth is None else np.concatenate([poses.ravel(), self.cloth.vertices.ravel()])

    def apply_snapshot(self, joint_positions: np.ndarray, base_poses: np.ndarray) -> None:
        """Takes the pose of another world of the same description; ValueError when the sizes do not fit."""
        rigid = 7 * len(self.bodies)
        soft = 0 if self.cloth is None else self.cloth.vertices.size
        if len(joint_positions) != len(self.movable) or len(base_poses) != rigid + soft:
            raise ValueError(f"snapshot of {len(joint_positions)} joints and {len(base_poses)} pose numbers does not fit "
                             f"{len(self.movable)} joints, {len(self.bodies)} bodies and {soft // 3} vertices")
        for index, value in zip(self.movable, joint_positions, strict=True):
            p.resetJointState(self.robot, index, float(value), 0.0, physicsClientId=self.client)
        for body, pose in zip(self.bodies, np.reshape(base_poses[:rigid], (-1, 7)), strict=True):
            p.resetBasePositionAndOrientation(self._uids[body.name], pose[:3], pose[3:], physicsClientId=self.client)
        if self.cloth is not None:
            self.cloth.place(base_poses[rigid:])

    @classmethod
    def mirror(cls, description: str) -> World:
        """A world without a scene of its own that looks as described; ApprenticeError on a foreign description."""
        profile, bodies, cloth = cls.parse(description)
        world = cls(profile)
        world.set_bodies(bodies, cloth)
        return world

    def redescribe(self, description: str) -> None:
        """Changes this mirror's bodies to a newer description of the same robot."""
        profile, bodies, cloth = self.parse(description)
        if profile != self.profile:
            raise ApprenticeError("a mirror cannot change its robot")
        self.set_bodies(bodies, cloth)

    @staticmethod
    def parse(description: str) -> tuple[RobotProfile, tuple[Body, ...], Cloth | None]:
        try:
            data = json.loads(description)
            if data["format"] != DESCRIPTION_FORMAT:
                raise ValueError(f"format {data['format']!r}")
            cloth = data.get("cloth")
            return (
                load_robot(data["robot"]), tuple(body_from_json(b) for b in data["bodies"]),
                None if cloth is None else cloth_from_json(cloth),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ApprenticeError(f"not a scene description: {error}") from error

    def close(self) -> None:
        if self.client >= 0:
            p.disconnect(physicsClientId=self.client)
            self.client = -1
