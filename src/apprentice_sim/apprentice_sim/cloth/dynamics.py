"""A square cloth by extended position-based dynamics (XPBD) in small steps: distance constraints of stretch, shear and bending.

Pure numpy on a grid of vertices, whose slices are the constraints' colours; equal steps give equal bits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from apprentice_core.wrench import GRAVITY
from apprentice_sim.cloth.contacts import Boxes

DRAG = 1.5
"""of the air, 1/s (ours)"""
SHEAR_COMPLIANCE, BEND_COMPLIANCE = 0.02, 1.0
"""m/N along a diagonal and between next but one vertices (ours): a soft towel; stretch has none"""
FASTEST = 3.0
"""no vertex moves faster, m/s (ours)"""
PARTING = 0.15
"""speed with which two layers that overlap part, m/s (ours)"""
LAYER_FRICTION = 0.6
LOOK_EVERY, LOOK_MARGIN = 6, 0.003
"""steps between two searches for layers that may touch, and how far beyond touching they look, m (ours)"""
STILL = 0.004
"""a cloth whose vertices are all slower is at rest, m/s (ours)"""
ASLEEP_AFTER = 0.2
"""s of rest until it sleeps (ours)"""


@dataclass(frozen=True)
class Cloth:
    """A square of n x n vertices, row by row in `vertices` (n n x y z, base frame, m) at its start; colour: RGBA in [0, 1]."""

    name: str
    n: int
    side: float
    mass: float
    thickness: float
    colour: tuple[float, ...]
    vertices: tuple[float, ...] = ()

    @property
    def spacing(self) -> float:
        return self.side / (self.n - 1)

    def at(self, vertices: np.ndarray) -> Cloth:
        return replace(self, vertices=tuple(np.ravel(vertices).tolist()))

    def flat(self, x: float, y: float, z: float, yaw: float) -> np.ndarray:
        """Vertices [n n, 3] of the cloth spread out level."""
        a = (np.arange(self.n) - (self.n - 1) / 2) * self.spacing
        u, v = (g.ravel() for g in np.meshgrid(a, a, indexing="ij"))
        c, s = np.cos(yaw), np.sin(yaw)
        return np.stack([x + c * u - s * v, y + s * u + c * v, np.full(u.shape, z)], axis=1)


def cloth_to_json(cloth: Cloth) -> dict[str, Any]:
    """What a mirror needs to draw it; where the vertices are comes with each snapshot."""
    return asdict(replace(cloth, vertices=()))


def cloth_from_json(data: dict[str, Any]) -> Cloth:
    """Spread out at the origin until a snapshot comes; raises KeyError or TypeError on a foreign object."""
    cloth = Cloth(**{**data, "colour": tuple(data["colour"])})
    return cloth.at(cloth.flat(0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class ClothState:
    """All that the next steps depend on: [n n, 3] each, the pairs of vertices that may touch [P, 2], and counters."""

    position: np.ndarray
    velocity: np.ndarray
    pairs: np.ndarray
    steps: int
    still: int


class ClothDynamics:
    """`rate`: steps a second; `grip`: with what force the fingers press on what they pinch, N."""

    def __init__(self, cloth: Cloth, rate: float = 500.0, grip: float = 0.0):
        self.cloth, self.rate, self.period = cloth, rate, 1.0 / rate
        self.vertex_mass = cloth.mass / cloth.n**2
        self._grip = grip * self.period**2 / self.vertex_mass
        self.position = np.array(cloth.vertices, dtype=np.float64).reshape(-1, 3)
        if len(self.position) != cloth.n**2:
            raise ValueError(f"{cloth.name}: {len(self.position)} vertices, a square of {cloth.n} x {cloth.n} has {cloth.n**2}")
        self.velocity = np.zeros_like(self.position)
        self._steps, self._still = 0, 0
        self._pairs = np.empty((0, 2), dtype=np.intp)
        self._radius = cloth.thickness / 2
        stiff = self.vertex_mass / self.period**2
        a, diagonal = cloth.spacing, cloth.spacing * np.sqrt(2.0)
        n = cloth.n
        all_but_last, all_but_first = slice(0, n - 1), slice(1, n)
        following = [(slice(0, n - 1, 2), slice(1, n, 2)), (slice(1, n - 1, 2), slice(2, n, 2))]
        every, share = slice(None), 0.5
        # One entry a colour: (slices of the first ends, of the second ends, rest length, share of the error that one end takes).
        self._constraints: list[tuple[Any, Any, float, float]] = []
        for first, second in following:
            self._constraints += [((first, every), (second, every), a, share), ((every, first), (every, second), a, share)]
        stretch = list(self._constraints)
        soft = 1.0 / (2.0 + SHEAR_COMPLIANCE * stiff)
        for first, second in following:
            for a_side, b_side in ((all_but_last, all_but_first), (all_but_first, all_but_last)):
                self._constraints.append(((first, a_side), (second, b_side), diagonal, soft))
        # Bending is soft enough for one pass in which each vertex takes part twice.
        soft = 0.5 / (2.0 + BEND_COMPLIANCE * stiff)
        near, far = slice(0, n - 2), slice(2, n)
        self._constraints += [((near, every), (far, every), 2 * a, soft), ((every, near), (every, far), 2 * a, soft)]
        # Stretch once more and last: a few vertices between the fingers carry all the others.
        self._constraints += stretch[::-1]

    # -- state -------------------------------------------------------------------------------------------------------

    def save(self) -> ClothState:
        return ClothState(self.position.copy(), self.velocity.copy(), self._pairs.copy(), self._steps, self._still)

    def restore(self, state: ClothState) -> None:
        self.position, self.velocity, self._pairs = state.position.copy(), state.velocity.copy(), state.pairs.copy()
        self._steps, self._still = state.steps, state.still

    @property
    def asleep(self) -> bool:
        return self._still > ASLEEP_AFTER * self.rate

    def sleep(self) -> None:
        """It lies still until something touches it."""
        self.velocity[:] = 0.0
        self._still = int(ASLEEP_AFTER * self.rate) + 1

    def energy(self) -> float:
        """Kinetic and potential energy, J."""
        return self.vertex_mass * float(0.5 * np.sum(self.velocity**2) + GRAVITY * np.sum(self.position[:, 2]))

    # -- steps -------------------------------------------------------------------------------------------------------

    def step(self, fixed: Boxes, tool: Boxes, pinned: tuple[int, np.ndarray] | None = None) -> np.ndarray | None:
        """One step of `period` among boxes that stand (or move on whatever the cloth does) and those of the gripper; the force on the
        gripper [3], N; None where it is not touched. `pinned`: a vertex that is held at a place."""
        x, before = self.position, self.position.copy()
        low, high = x.min(axis=0), x.max(axis=0)
        margin = self._radius + FASTEST * self.period
        if self.asleep and pinned is None:
            if not fixed.moved and tool.touch(x, low, high, margin) is None:
                return None
        self._still = 0 if self.asleep else self._still
        v = self.velocity
        v[:, 2] -= GRAVITY * self.period
        v *= 1.0 - DRAG * self.period
        np.clip(v, -FASTEST, FASTEST, out=v)
        x += v * self.period
        self._constrain(x.reshape(self.cloth.n, self.cloth.n, 3))
        self._part_layers(x, before)
        if pinned is not None:
            x[pinned[0]] = pinned[1]
        low, high = x.min(axis=0), x.max(axis=0)
        held = tool.touch(x, low, high, self._radius)
        moved = None
        if held is not None:
            moved = held.push(x).sum(axis=0)
            low, high = x.min(axis=0), x.max(axis=0)
        stood = fixed.touch(x, low, high, self._radius)
        # What stands is not moved by a finger that presses a vertex on it; of the two surfaces the finger's is the rougher and rubs last.
        if stood is not None:
            stood.push(x)
            stood.rub(x, before)
        if held is not None:
            moved += held.rub(x, before, self._grip).sum(axis=0)
        np.subtract(x, before, out=v)
        v *= self.rate
        for contacts in (held, stood):
            if contacts is not None:
                contacts.rest(v, self.period)
        self._steps += 1
        self._still = self._still + 1 if float(np.abs(v).max()) < STILL else 0
        if self.asleep:
            v[:] = 0.0
        return None if moved is None else -moved * (self.vertex_mass * self.rate**2)

    def _constrain(self, grid: np.ndarray) -> None:
        for first, second, rest, share in self._constraints:
            a, b = grid[first], grid[second]
            d = b - a
            length = np.sqrt(np.einsum("ijk,ijk->ij", d, d))
            d *= (share - (share * rest) / np.maximum(length, 1e-9))[:, :, None]
            a += d
            b -= d

    def _part_layers(self, x: np.ndarray, before: np.ndarray) -> None:
        """Keeps layers that lie on each other a thickness apart, as far as their vertices meet, and rubs them."""
        if self._steps % LOOK_EVERY == 0:
            apart = min(self.cloth.thickness, 0.9 * self.cloth.spacing)
            self._pairs = cKDTree(x).query_pairs(apart + LOOK_MARGIN, output_type="ndarray")
        if not len(self._pairs):
            return
        i, j = self._pairs.T
        d = x[i] - x[j]
        length = np.sqrt(np.einsum("pi,pi->p", d, d))
        depth = min(self.cloth.thickness, 0.9 * self.cloth.spacing) - length
        near = np.flatnonzero(depth > 0)
        if not len(near):
            return
        i, j, depth = i[near], j[near], depth[near]
        normal = d[near] / np.maximum(length[near], 1e-9)[:, None]
        slip = x[i] - before[i] - x[j] + before[j]
        slip -= normal * np.einsum("pi,pi->p", slip, normal)[:, None]
        most = LAYER_FRICTION * np.minimum(depth, PARTING * self.period)
        rubbed = slip * np.minimum(1.0, most / np.maximum(np.sqrt(np.einsum("pi,pi->p", slip, slip)), 1e-12))[:, None]
        move = 0.5 * (normal * np.minimum(depth, PARTING * self.period)[:, None] - rubbed)
        np.add.at(x, i, move)
        np.subtract.at(x, j, move)
