"""Bodies of a scene as plain data, with a JSON form, and their meshes: what a world and its mirrors are built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

Vector = tuple[float, ...]
IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Part:
    """One convex piece at `offset` in the body frame, m. `size`: of a box x, y, z; of a cylinder radius and height along z; of a sphere
    its radius; of a hull x, y, z of each vertex in turn."""

    kind: str
    size: Vector
    offset: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Body:
    """A rigid body. mass 0: it never moves. pose: xyz, xyzw of the body frame, which is at the centre of mass; colour: RGBA in [0, 1].

    `origin`: the point of the body frame that its privileged pose tells, m; `tracked`: it has one although it never moves. `stiffness`:
    of each contact with it, N/m, 0 for rigid (a contact spring), and `damping`, N s/m. `margin`: rounding radius that the contact
    search adds around hulls, m; None leaves the library's millimetre. `inertia`: about each axis, kg m^2; 0 takes the shape's. `markers`:
    fiducial markers on its sides, number and four corners in the body frame (12 numbers, m), as core's tracking has them.
    """

    name: str
    shape: str
    parts: tuple[Part, ...]
    colour: Vector
    mass: float = 0.0
    friction: float = 1.0
    pose: Vector = IDENTITY
    collides: bool = True
    origin: Vector = (0.0, 0.0, 0.0)
    tracked: bool = False
    stiffness: float = 0.0
    damping: float = 0.0
    margin: float | None = None
    inertia: float = 0.0
    markers: tuple[tuple[int, Vector], ...] = ()

    def at(self, x: float, y: float, z: float, yaw: float) -> Body:
        return replace(self, pose=(x, y, z, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))


def body_to_json(body: Body) -> dict[str, Any]:
    return asdict(body)


def body_from_json(data: dict[str, Any]) -> Body:
    """Raises KeyError or TypeError on a foreign object."""
    parts = tuple(Part(p["kind"], tuple(p["size"]), tuple(p["offset"])) for p in data["parts"])
    return Body(**{**data, "parts": parts, "colour": tuple(data["colour"]), "pose": tuple(data["pose"]),
                   "origin": tuple(data["origin"]), "markers": tuple((int(n), tuple(c)) for n, c in data["markers"])})


def part_vertices(part: Part, segments: int = 20) -> np.ndarray:
    """Corners in the body frame, [K, 3]; a cylinder stands along z with `segments` corners at each end."""
    if part.kind == "box":
        half = np.array(part.size) / 2
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * half
    elif part.kind == "cylinder":
        radius, height = part.size
        a = np.arange(segments) * (2 * math.pi / segments)
        ring = np.stack([radius * np.cos(a), radius * np.sin(a)], axis=1)
        corners = np.concatenate([np.c_[ring, np.full(segments, z)] for z in (-height / 2, height / 2)])
    elif part.kind == "sphere":
        rings = [(part.size[0] * math.sin(t), part.size[0] * math.cos(t)) for t in np.linspace(0.0, math.pi, 5)]
        a = np.arange(8) * (math.pi / 4)
        corners = np.concatenate([np.c_[r * np.cos(a), r * np.sin(a), np.full(8, z)] for r, z in rings])
    elif part.kind == "hull":
        corners = np.array(part.size).reshape(-1, 3)
    else:
        raise ValueError(f"unknown kind of part {part.kind!r}")
    return corners + np.array(part.offset)


def wavefront(parts: Sequence[Part]) -> str:
    """The parts as Wavefront OBJ text, one object each: PyBullet makes a compound of their convex hulls of it."""
    lines: list[str] = []
    first = 1
    for i, part in enumerate(parts):
        faces, _ = triangles(part)
        lines.append(f"o part{i}")
        lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in faces.reshape(-1, 3).tolist()]
        lines += [f"f {k} {k + 1} {k + 2}" for k in range(first, first + 3 * len(faces), 3)]
        first += 3 * len(faces)
    return "\n".join(lines) + "\n"


def triangles(part: Part, segments: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Outward triangles [M, 3, 3] and their unit normals [M, 3] of a convex part; `segments` of a cylinder."""
    corners = part_vertices(part, segments)
    hull = ConvexHull(corners)
    faces, normals = corners[hull.simplices], hull.equations[:, :3]
    turned = np.einsum("mi,mi->m", np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]), normals) < 0
    faces[turned] = faces[turned][:, ::-1]
    return faces, normals


def hull_part(vertices: Sequence[Sequence[float]]) -> Part:
    """A convex part moved so that its centre of volume is the origin."""
    corners = np.asarray(vertices, dtype=np.float64)
    raw = Part("hull", tuple(corners.ravel().tolist()))
    faces, _ = triangles(raw)
    inner = corners.mean(axis=0)
    volume = np.einsum("mi,mi->m", np.cross(faces[:, 0] - inner, faces[:, 1] - inner), faces[:, 2] - inner)
    centre = (volume[:, None] * (faces.sum(axis=1) + inner) / 4).sum(axis=0) / volume.sum()
    return Part("hull", tuple((corners - centre).round(9).ravel().tolist()))


def extent(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner in the body frame."""
    corners = np.concatenate([part_vertices(p) for p in parts])
    return corners.min(axis=0), corners.max(axis=0)


def radius(parts: Sequence[Part]) -> float:
    """Largest horizontal distance from the body's centre, m."""
    return float(max(np.linalg.norm(part_vertices(p)[:, :2], axis=1).max() for p in parts))
