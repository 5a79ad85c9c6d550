"""Bodies as plain data made real in one PyBullet world; equal shapes are made once."""

from __future__ import annotations

import tempfile
from typing import Any

import cv2
import numpy as np
import pybullet as p

from apprentice_core.tracking import CELLS, marker_image
from apprentice_sim.bodies import Body, triangles, wavefront

SPINNING_FRICTION, ROLLING_FRICTION = 0.02, 0.0001
"""ours; of round bodies alone, which touch a finger or a floor in a point: the four points of a face resist turning by themselves, and
each of these costs the solver further rows a point. Fingers have none (urdf/), or every point of every grasp would cost them"""

TILE = 8
"""pixels of a marker's texture to a cell of its code (ours)"""
PRINT = 1e-4
"""m that a printed marker stands out of the side that it is on"""


class BodyFactory:
    """`client`: id of the physics world."""

    def __init__(self, client: int):
        self.client = client
        self._shapes: dict[tuple[object, ...], tuple[int, int]] = {}
        self._textures: dict[tuple[object, ...], int] = {}

    def create(self, body: Body) -> int:
        """The body's unique id in the world."""
        key = (body.parts, body.colour, body.collides, body.markers)
        if key not in self._shapes:
            self._shapes[key] = (self._collision(body) if body.collides else -1, self._visual(body))
        collision, visual = self._shapes[key]
        uid = p.createMultiBody(body.mass, collision, visual, body.pose[:3], body.pose[3:], physicsClientId=self.client)
        if body.markers:
            p.changeVisualShape(uid, -1, textureUniqueId=self._texture(body), physicsClientId=self.client)
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
        colour = body.colour
        if body.markers:
            # One texture a body: its plain colour in the first tile of a strip, a marker with its margin in each further one.
            prints = [_print(np.reshape(corners, (4, 3)), i, len(body.markers)) for i, (_, corners) in enumerate(body.markers, 1)]
            uvs = np.full((len(vertices), 2), [0.5 / (len(prints) + 1), 0.5])
            vertices, normals, uvs = (np.concatenate(a) for a in zip((vertices, normals, uvs), *prints, strict=True))
            colour = (1.0, 1.0, 1.0, 1.0)
        return int(p.createVisualShape(
            p.GEOM_MESH, vertices=vertices.tolist(), indices=list(range(len(vertices))), normals=normals.tolist(),
            uvs=uvs.tolist(), rgbaColor=colour, specularColor=[0.0, 0.0, 0.0], physicsClientId=self.client,
        ))

    def _texture(self, body: Body) -> int:
        """The strip of `_visual`; PyBullet takes it from a file alone."""
        key = (body.colour, tuple(n for n, _ in body.markers))
        if key not in self._textures:
            side = (CELLS + 2) * TILE
            plain = np.broadcast_to(np.rint(255 * np.array(body.colour[:3])).astype(np.uint8), (side, side, 3))
            tiles = [np.pad(marker_image(n, TILE), TILE, constant_values=255) for n, _ in body.markers]
            strip = np.concatenate([plain, *(np.repeat(t[:, :, None], 3, axis=2) for t in tiles)], axis=1)
            with tempfile.NamedTemporaryFile("wb", suffix=".png") as file:
                file.write(cv2.imencode(".png", strip[:, :, ::-1])[1].tobytes())
                file.flush()
                self._textures[key] = int(p.loadTexture(file.name, physicsClientId=self.client))
        return self._textures[key]


def _print(corners: np.ndarray, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, normals [6, 3] and texture coordinates [6, 2] of a marker, margin included."""
    middle = corners.mean(axis=0)
    normal = np.cross(corners[1] - corners[0], corners[0] - corners[3])
    normal /= np.linalg.norm(normal)
    square = middle + (corners - middle) * (CELLS + 2) / CELLS + PRINT * normal
    left, right = tile / (tiles + 1), (tile + 1) / (tiles + 1)
    at = np.array([[left, 1.0], [right, 1.0], [right, 0.0], [left, 0.0]])
    order = [0, 3, 2, 0, 2, 1]
    return square[order], np.tile(normal, (6, 1)), at[order]
