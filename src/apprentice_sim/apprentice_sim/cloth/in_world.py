"""A cloth among the bodies of a World: their boxes, the gripper's, and what the cloth weighs on the tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pybullet as p

from apprentice_core.rotations import quaternion_to_matrix
from apprentice_sim.cloth.contacts import Box, Boxes, box_of_part
from apprentice_sim.cloth.dynamics import Cloth, ClothDynamics, ClothState

if TYPE_CHECKING:
    from apprentice_sim.world import World

RATE = 500.0
"""cloth steps a second, as near as the world's steps allow (ours)"""
PAD_FRICTION = 1.2
"""of the rubber pads on cloth (ours)"""
PULL_FILTER = 0.02
"""time constant of the force on the tool, s; MOST_PULL bounds it, N (ours)"""
MOST_PULL = 5.0
NO_TURN = np.array([0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True)
class WorldClothState:
    """All that the next steps of a cloth depend on; `poses` are the boxes' of this step and of the one before."""

    cloth: ClothState
    poses: tuple[np.ndarray, ...]
    pull: np.ndarray
    phase: int


class WorldCloth:
    """Steps with its world. It feels all bodies as boxes; they do not feel it, but the tool carries its weight."""

    def __init__(self, world: World, cloth: Cloth):
        self.world, self.cloth = world, cloth
        self.every = max(1, round(world.rate / RATE))
        self.dynamics = ClothDynamics(cloth, world.rate / self.every, world.profile.gripper.force)
        self._phase, self._pull = 0, np.zeros(3)
        parts = [(body, part) for body in world.bodies if body.collides for part in body.parts]
        self._bodies = Boxes([box_of_part(part, body.friction) for body, part in parts])
        self._bodies.place([body.pose for body, _ in parts])
        self._movable = {body.name: [i for i, (b, _) in enumerate(parts) if b is body] for body, _ in parts if body.mass > 0}
        links, boxes = _gripper_boxes(world)
        self._links, self._owner = sorted(set(links)), np.searchsorted(sorted(set(links)), links)
        self._tool = Boxes(boxes)
        self._tool.move(*self._tool_poses())
        # The outermost box of each finger is its pad; between the pads the weight pulls.
        away = np.linalg.norm(self._tool.centre - self._tool.centre[-1], axis=1)
        fingers = [np.flatnonzero(np.array(links) == f) for f in dict.fromkeys(links[: links.index(links[-1])])]
        self._pads = [int(f[np.argmax(away[f])]) for f in fingers]
        self._hand = links[-1]
        self.still()

    def still(self) -> None:
        """What moved so far counts for nothing: the cloth was put here, and lies."""
        self.dynamics.sleep()
        self._tool.stop()
        self._bodies.stop()
        self._pull[:] = 0.0

    # -- time --------------------------------------------------------------------------------------------------------

    def before_step(self) -> None:
        """The weight on the tool, for the physics step that comes."""
        if self._pull.any():
            force, at, client = self._pull.tolist(), self._tool.centre[self._pads].mean(axis=0).tolist(), self.world.client
            p.applyExternalForce(self.world.robot, self._hand, force, at, p.WORLD_FRAME, physicsClientId=client)

    def after_step(self) -> None:
        self._phase = (self._phase + 1) % self.every
        if self._phase:
            return
        self._tool.move(*self._tool_poses())
        if self._movable:
            self._move_bodies()
        force = self.dynamics.step(self._bodies, self._tool)
        if force is None and not self._pull.any():
            return
        wanted = np.zeros(3) if force is None else force * min(1.0, MOST_PULL / max(float(np.linalg.norm(force)), 1e-9))
        self._pull += (wanted - self._pull) * (self.dynamics.period / PULL_FILTER)
        if force is None and float(np.abs(self._pull).max()) < 1e-3:
            self._pull[:] = 0.0

    def _tool_poses(self) -> tuple[np.ndarray, np.ndarray]:
        states = p.getLinkStates(self.world.robot, self._links, computeForwardKinematics=1, physicsClientId=self.world.client)
        turns = np.array([quaternion_to_matrix(np.array(s[1])) for s in states])
        return np.array([s[0] for s in states])[self._owner], turns[self._owner]

    def _move_bodies(self) -> None:
        position, rotation = self._bodies.position.copy(), self._bodies.turn.copy()
        for name, rows in self._movable.items():
            at, turn = p.getBasePositionAndOrientation(self.world.uid(name), physicsClientId=self.world.client)
            position[rows], rotation[rows] = at, quaternion_to_matrix(np.array(turn))
        self._bodies.move(position, rotation)

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def vertices(self) -> np.ndarray:
        """[n n, 3], base frame, m."""
        return self.dynamics.position

    def place(self, vertices: np.ndarray) -> None:
        """Takes the shape of another world's cloth; [n n, 3] or flat."""
        self.dynamics.position[:] = np.reshape(vertices, (-1, 3))

    def objects(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """As World.objects: the centre under the cloth's name, then `tracked_names`; points have no attitude and no spin."""
        x, v, n = self.dynamics.position, self.dynamics.velocity, self.cloth.n
        rows = [int(np.argmax(x[:, 2])), 0, n - 1, n * n - n, n * n - 1]
        points = [(x.mean(axis=0), v.mean(axis=0)), *((x[i], v[i]) for i in rows)]
        return {
            name: (np.concatenate([at, NO_TURN]), np.concatenate([speed, np.zeros(3)]))
            for name, (at, speed) in zip(tracked_names(self.cloth.name), points, strict=True)
        }

    def save(self) -> WorldClothState:
        return WorldClothState(self.dynamics.save(), (*self._tool.save(), *self._bodies.save()), self._pull.copy(), self._phase)

    def restore(self, state: WorldClothState) -> None:
        self.dynamics.restore(state.cloth)
        half = len(state.poses) // 2
        self._tool.restore(state.poses[:half])
        self._bodies.restore(state.poses[half:])
        self._pull, self._phase = state.pull.copy(), state.phase


def tracked_names(cloth: str) -> tuple[str, ...]:
    """Names under which a cloth's centre, highest vertex and corners are privileged objects."""
    return (cloth, f"{cloth}/top", *(f"{cloth}/corner_{i}" for i in range(4)))


def _gripper_boxes(world: World) -> tuple[list[int], list[Box]]:
    """(link, box in its frame of inertia) of all collision shapes of the fingers and of what carries them."""
    fingers = [world.joint_index[j] for j in world.profile.gripper.joints]
    hand = {p.getJointInfo(world.robot, f, physicsClientId=world.client)[16] for f in fingers}
    links, boxes = [], []
    for link in (*fingers, *sorted(hand)):
        for shape in p.getCollisionShapeData(world.robot, link, physicsClientId=world.client):
            kind, size = shape[2], np.array(shape[3])
            if kind == p.GEOM_CYLINDER:
                size = np.array([2 * size[1], 2 * size[1], size[0]])
            elif kind != p.GEOM_BOX:
                continue
            links.append(link)
            boxes.append(Box(size / 2, np.array(shape[5]), quaternion_to_matrix(np.array(shape[6])), PAD_FRICTION))
    return links, boxes
