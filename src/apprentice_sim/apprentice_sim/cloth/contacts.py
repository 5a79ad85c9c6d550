"""Contacts of points with boxes: where points of a cloth, each a ball of the cloth's half thickness, touch rigid boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_core.rotations import quaternion_to_matrix
from apprentice_sim.bodies import Part, part_vertices

JUMP = 0.02
"""a box that moves by more than this in one step was put there, m (ours)"""

NUDGE = 1e-5
"""a box that moves by less in one step wakes no cloth, m (ours)"""

OPPOSITE = -0.8
"""cosine between the normals of two contacts that pinch a point (ours)"""


@dataclass(frozen=True)
class Box:
    """A box in the frame of its body: half sizes and centre, m; rotation [3, 3] into that frame."""

    half: np.ndarray
    centre: np.ndarray
    rotation: np.ndarray
    friction: float


def box_of_part(part: Part, friction: float) -> Box:
    """The box around a part: exact for a box, the bounding one of a cylinder or hull."""
    corners = part_vertices(part)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Box((high - low) / 2, (high + low) / 2, np.eye(3), friction)


class Boxes:
    """B boxes on moving bodies, as arrays; `move` gives them new poses and keeps the old, from which a point's way in the step follows."""

    def __init__(self, boxes: Sequence[Box]):
        self.half = np.array([b.half for b in boxes]).reshape(-1, 3)
        self.friction = np.array([b.friction for b in boxes])
        self._centre = np.array([b.centre for b in boxes]).reshape(-1, 3, 1)
        self._turn = np.array([b.rotation for b in boxes]).reshape(-1, 3, 3)
        self.position, self.turn = np.zeros((len(boxes), 3)), np.zeros((len(boxes), 3, 3))
        self._take(self.position, self.turn)
        self.stop()

    def __len__(self) -> int:
        return len(self.half)

    def _take(self, position: np.ndarray, turn: np.ndarray) -> None:
        self.position, self.turn = position, turn
        self.centre = position + (turn @ self._centre)[:, :, 0]
        self.rotation = turn @ self._turn
        self._reach = np.einsum("bij,bj->bi", np.abs(self.rotation), self.half)

    def move(self, position: np.ndarray, turn: np.ndarray) -> None:
        """Poses of the boxes' bodies: [B, 3] and [B, 3, 3]."""
        self.old_centre, self.old_rotation = self.centre, self.rotation
        self._take(position, turn)
        jumped = np.abs(self.centre - self.old_centre).max(axis=1) > JUMP
        if jumped.any():
            self.old_centre, self.old_rotation = self.old_centre.copy(), self.old_rotation.copy()
            self.old_centre[jumped], self.old_rotation[jumped] = self.centre[jumped], self.rotation[jumped]

    def stop(self) -> None:
        """The boxes are where they are, at rest."""
        self.old_centre, self.old_rotation = self.centre, self.rotation

    def place(self, poses: Sequence[Sequence[float]]) -> None:
        """At rest at these poses [B][7] (xyz, xyzw)."""
        at = np.array([p[:3] for p in poses]).reshape(-1, 3)
        self._take(at, np.array([quaternion_to_matrix(np.array(p[3:])) for p in poses]).reshape(-1, 3, 3))
        self.stop()

    @property
    def moved(self) -> bool:
        """Whether any box moved in the last step."""
        still = self.old_centre is self.centre or not len(self)
        return not still and float(np.abs(self.centre - self.old_centre).max()) > NUDGE

    def save(self) -> tuple[np.ndarray, ...]:
        """The poses of now and of the step before; arrays that nobody writes to."""
        return self.position, self.turn, self.old_centre, self.old_rotation

    def restore(self, saved: Sequence[np.ndarray]) -> None:
        self._take(saved[0], saved[1])
        self.old_centre, self.old_rotation = saved[2], saved[3]

    def touch(self, points: np.ndarray, low: np.ndarray, high: np.ndarray, radius: float) -> Contacts | None:
        """Contacts of balls of `radius` at points [N, 3], all within `low` to `high`; None where there is none."""
        gap = np.abs((high + low) / 2 - self.centre) - (high - low) / 2 - self._reach
        boxes = np.flatnonzero((gap < radius).all(axis=1))
        if not len(boxes):
            return None
        # Most points are far above or below all of them.
        z, reach = points[:, 2], self._reach[boxes, 2] + radius
        lowest, highest = (self.centre[boxes, 2] - reach).min(), (self.centre[boxes, 2] + reach).max()
        near = np.flatnonzero((z > lowest) & (z < highest))
        local = (points[near] - self.centre[boxes, None]) @ self.rotation[boxes]
        half = self.half[boxes, None]
        out = local - np.minimum(np.maximum(local, -half), half)
        row, point = np.nonzero(np.einsum("bni,bni->bn", out, out) < radius * radius)
        if not len(row):
            return None
        local, normal, half = local[row, point], out[row, point], self.half[boxes[row]]
        point = near[point]
        distance = np.sqrt(np.einsum("ci,ci->c", normal, normal))
        depth = radius - distance
        inside = np.flatnonzero(distance < 1e-9)
        if len(inside):
            # The way out of a box leads through its nearest side.
            to_side = half[inside] - np.abs(local[inside])
            axis = np.argmin(to_side, axis=1)
            at = np.arange(len(inside))
            normal[inside] = 0.0
            normal[inside, axis] = np.where(local[inside, axis] < 0, -1.0, 1.0)
            depth[inside] += to_side[at, axis]
            distance[inside] = 1.0
        normal /= distance[:, None]
        box = boxes[row]
        turn = self.rotation[box]
        way = np.einsum("cij,cj->ci", turn - self.old_rotation[box], local) + (self.centre - self.old_centre)[box]
        normal = np.einsum("cij,cj->ci", turn, normal)
        return Contacts(point, normal, depth, way, self.friction[box], *_along(point, normal))


def _along(point: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(share [C], pinched [C]). Share: 1 for the only contact of a point or one across its others, less where contacts push along the same
    line. Pinched: another contact pushes the same point the other way."""
    share, pinched = np.ones(len(point)), np.zeros(len(point), dtype=bool)
    several = np.flatnonzero(np.bincount(point)[point] > 1)
    if len(several):
        p, n = point[several], normal[several]
        along = (n @ n.T) * (p[:, None] == p)
        share[several] = 1.0 / np.abs(along).sum(axis=1)
        pinched[several] = along.min(axis=1) < OPPOSITE
    return share, pinched


@dataclass(frozen=True)
class Contacts:
    """C contacts: index of the point [C], outward unit normal of the box [C, 3], depth [C] (m), way of the box there in this step [C, 3],
    friction [C], which part of its point's correction is this contact's [C], and whether the point is pinched between two boxes [C]."""

    point: np.ndarray
    normal: np.ndarray
    depth: np.ndarray
    way: np.ndarray
    friction: np.ndarray
    share: np.ndarray
    pinched: np.ndarray

    def _add(self, array: np.ndarray, values: np.ndarray) -> np.ndarray:
        values *= self.share[:, None]
        np.add.at(array, self.point, values)
        return values

    def push(self, points: np.ndarray) -> np.ndarray:
        """Moves points [N, 3] out of the boxes; the correction of each contact [C, 3]. Opposite sides of a pinch meet half way."""
        return self._add(points, self.normal * self.depth[:, None])

    def rub(self, points: np.ndarray, before: np.ndarray, grip: float = 0.0) -> np.ndarray:
        """Coulomb friction against the depth, which stands for the normal force: a point keeps to the box's surface while the way that it
        slipped since `before` is less than friction times depth. Where points are pinched the normal force is not the cloth's but the
        fingers': they share `grip`, that force as a depth, m. The correction of each contact [C, 3]."""
        pinched = np.count_nonzero(self.pinched)
        press = np.maximum(self.depth, self.pinched * (2.0 * grip / pinched)) if pinched else self.depth
        slip = points[self.point] - before[self.point] - self.way
        slip -= self.normal * np.einsum("ci,ci->c", slip, self.normal)[:, None]
        length = np.sqrt(np.einsum("ci,ci->c", slip, slip))
        slip *= -np.minimum(1.0, self.friction * press / np.maximum(length, 1e-12))[:, None]
        return self._add(points, slip)

    def rest(self, velocity: np.ndarray, period: float) -> None:
        """Takes what a point moves along the normal faster or slower than the box: contacts are inelastic, and pushing adds no energy."""
        along = np.einsum("ci,ci->c", velocity[self.point] - self.way / period, self.normal)
        self._add(velocity, -self.normal * along[:, None])
