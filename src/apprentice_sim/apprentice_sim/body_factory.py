"""Bodies as plain data made real in one PyBullet world; equal shapes are made once."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pybullet as p

from apprentice_sim.bodies import Body, triangles, wavefront

SPINNING_FRICTION, ROLLING_FRICTION = 0.02, 0.0001
"""ours; of round bodies alone, which touch a finger or a floor in a point: the four points of a face resist turning by themselves, and
each of these costs the solver further rows a point"""


class BodyFactory:
    """`client`: id of the physics world."""

    def __init__(self, client: int):
        self.client = client
        self._shapes: dict[tuple[object, ...], tuple[int, int]] = {}

    def create(self, body: Body) -> int:
        """The body's unique id in the world."""
        key = (body.parts, body.colour, body.collides)
        if key not in self._shapes:
            self._shapes[key] = (self._collision(body) if body.collides else -1, self._visual(body))
        collision, visual = self._shapes[key]
        uid = p.createMultiBody(body.mass, collision, visual, body.pose[:3], body.pose[3:], physicsClientId=self.client)
        # A body with a margin of its own has exact faces, as a box has.
        round_body = body.margin is None and body.stiffness == 0 and any(part.kind != "box" for part in body.parts)
        spinning, rolling = (SPINNING_FRICTION, ROLLING_FRICTION) if round_body else (0.0, 0.0)
        p.changeDynamics(uid, -1, lateralFriction=body.friction, spinningFriction=spinning, rollingFriction=rolling, restitution=0.0,
                         linearDamping=0.0, angularDamping=0.0, physicsClientId=self.client)
        if body.stiffness > 0:
            p.changeDynamics(uid, -1, contactStiffness=body.stiffness, contactDamping=body.damping, physicsClientId=self.client)
        if body.inertia > 0:
            p.changeDynamics(uid, -1, localInertiaDiagonal=[body.inertia] * 3, physicsClientId=self.client)
        if body.margin is not None:
            p.changeDynamics(uid, -1, collisionMargin=body.margin, physicsClientId=self.client)
        return int(uid)

    def _collision(self, body: Body) -> int:
        shapes: list[tuple[int, dict[str, Any]]] = []
        for part in body.parts:
            if part.kind == "box":
                shapes.append((p.GEOM_BOX, {"halfExtents": [s / 2 for s in part.size]}))
            elif part.kind == "sphere":
                shapes.append((p.GEOM_SPHERE, {"radius": part.size[0]}))
            elif part.kind == "cylinder":
                shapes.append((p.GEOM_CYLINDER, {"radius": part.size[0], "height": part.size[1]}))
            else:
                shapes.append((p.GEOM_MESH, {"vertices": np.reshape(part.size, (-1, 3)).tolist()}))
        if len(shapes) == 1:
            kind, form = shapes[0]
            return int(p.createCollisionShape(kind, **form, collisionFramePosition=body.parts[0].offset, physicsClientId=self.client))
        kinds = {part.kind for part in body.parts}
        if kinds == {"sphere"}:
            return int(p.createCollisionShapeArray(
                [kind for kind, _ in shapes], radii=[form["radius"] for _, form in shapes],
                collisionFramePositions=[list(part.offset) for part in body.parts], physicsClientId=self.client,
            ))
        if kinds != {"box"}:
            # PyBullet takes several hulls from a file alone.
            with tempfile.NamedTemporaryFile("w", suffix=".obj", encoding="ascii") as file:
                file.write(wavefront(body.parts))
                file.flush()
                return int(p.createCollisionShape(p.GEOM_MESH, fileName=file.name, physicsClientId=self.client))
        return int(p.createCollisionShapeArray(
            [kind for kind, _ in shapes], halfExtents=[form["halfExtents"] for _, form in shapes],
            collisionFramePositions=[list(part.offset) for part in body.parts], physicsClientId=self.client,
        ))

    def _visual(self, body: Body) -> int:
        pieces = [triangles(part) for part in body.parts]
        vertices = np.concatenate([faces.reshape(-1, 3) for faces, _ in pieces])
        normals = np.concatenate([np.repeat(n, 3, axis=0) for _, n in pieces])
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        # Seen from above: a texture lies once over the whole body.
        uvs = ((vertices - low) / np.maximum(high - low, 1e-9))[:, :2]
        return int(p.createVisualShape(
            p.GEOM_MESH, vertices=vertices.tolist(), indices=list(range(len(vertices))), normals=normals.tolist(),
            uvs=uvs.tolist(), rgbaColor=body.colour, specularColor=[0.0, 0.0, 0.0], physicsClientId=self.client,
        ))
