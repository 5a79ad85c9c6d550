"""A body held between the fingers: stiff up to a holding force, beyond which it slips and stays slipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pybullet as p

from apprentice_core.rotations import matrix_to_quaternion, quaternion_to_matrix, rotation_vector
from apprentice_sim.bodies import Body

if TYPE_CHECKING:
    from apprentice_sim.world import World

DOWN = np.diag([-1.0, 1.0, -1.0])
"""the tool frame's orientation when the tool points straight down, fingers along the base's y"""
PAD_FRICTION = 0.8
"""of a rubber pad on a plug's handle (ours)"""
SLIP_PERIOD = 5
"""physics steps between looks at whether the body slips (ours)"""
GIVE = 2e-4
"""m that a held body may lag behind its place in the hand before the pads let it slip (ours)"""


@dataclass(frozen=True)
class Held:
    """What the gripper holds from the reset on: a movable `body`, its body frame at `position` [3] m, turned by `rotation` (rotation
    vector [3], rad) from upright, in the axes of a tool that points down; `width` between the pads, m."""

    body: Body
    position: tuple[float, float, float]
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    width: float = 0.01


class Grip:
    """A fixed constraint between the tool and a body, no stronger than two pads' friction.

    The constraint is elastic within `GIVE`; what goes beyond it moves the body's place in the hand for good, as a slip does.
    `force`: N, by default the profile's finger force on two pads.
    """

    def __init__(self, world: World, name: str, width: float, force: float | None = None):
        self.world, self.name, self.width = world, name, width
        self.force = 2.0 * world.profile.gripper.force * PAD_FRICTION if force is None else force
        self.uid, self.link = world.uid(name), world.link_index[world.profile.tool_frame]
        self.place = self.start = self.in_hand()
        joints = range(-1, p.getNumJoints(world.robot, physicsClientId=world.client))
        for i in joints:
            p.setCollisionFilterPair(world.robot, self.uid, i, -1, 0, physicsClientId=world.client)
        position, rotation = self.start
        self.constraint: int | None = p.createConstraint(
            world.robot, self.link, self.uid, -1, p.JOINT_FIXED, [0, 0, 0], position.tolist(), [0, 0, 0],
            matrix_to_quaternion(rotation).tolist(), physicsClientId=world.client,
        )
        p.changeConstraint(self.constraint, maxForce=self.force, physicsClientId=world.client)
        self._count = 0

    def in_hand(self) -> tuple[np.ndarray, np.ndarray]:
        """(position [3] m, rotation [3, 3]) of the body frame in the tool frame, now."""
        at, q = self.world.link_pose(self.world.profile.tool_frame)
        position, quaternion = p.getBasePositionAndOrientation(self.uid, physicsClientId=self.world.client)
        tool = quaternion_to_matrix(q)
        return tool.T @ (np.array(position) - at), tool.T @ quaternion_to_matrix(np.array(quaternion))

    @property
    def holds(self) -> bool:
        return self.constraint is not None

    def slip(self) -> tuple[float, float]:
        """(m, rad) between the body's place in the hand now and at the grasp."""
        position, rotation = self.in_hand()
        turned = rotation_vector(rotation @ self.start[1].T)
        return float(np.linalg.norm(position - self.start[0])), float(np.linalg.norm(turned))

    def after_step(self) -> None:
        """Lets the body slip where it lags behind more than the pads give."""
        self._count += 1
        if self._count % SLIP_PERIOD or self.constraint is None:
            return
        position, _ = self.in_hand()
        lag = position - self.place[0]
        size = float(np.linalg.norm(lag))
        if size > GIVE:
            self.put((self.place[0] + lag * (1.0 - GIVE / size), self.place[1]))

    def put(self, place: tuple[np.ndarray, np.ndarray]) -> None:
        """Makes `place` the body's place in the hand (a slip, or a saved state)."""
        self.place = place
        if self.constraint is not None:
            # The constraint's point in the body: the tool's own, seen from a body that has moved.
            shift = place[1].T @ (self.start[0] - place[0])
            p.changeConstraint(self.constraint, jointChildPivot=shift.tolist(), maxForce=self.force, physicsClientId=self.world.client)

    def release(self) -> None:
        """The fingers open: the body falls and meets the hand again as any other."""
        if self.constraint is None:
            return
        p.removeConstraint(self.constraint, physicsClientId=self.world.client)
        self.constraint = None
        for i in range(-1, p.getNumJoints(self.world.robot, physicsClientId=self.world.client)):
            p.setCollisionFilterPair(self.world.robot, self.uid, i, -1, 1, physicsClientId=self.world.client)
