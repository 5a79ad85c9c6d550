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
SIZES = range(2, 65)
"""vertices along a side: what a mirror is told comes from another process (ours)"""


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
    """Spread out at the origin until a snapshot comes; raises KeyError, TypeError or ValueError on a foreign object."""
    cloth = Cloth(**{**data, "colour": tuple(data["colour"])})
    if cloth.n not in SIZES:
        raise ValueError(f"a cloth of {cloth.n!r} vertices a side")
    return cloth.at(cloth.flat(0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class ClothState:
    """All that the next steps depend on: [n n, 3] each, the pairs of vertices that may touch [P, 2], and counters."""

    position: np.ndarray
    velocity: np.ndarray
    pairs: np.ndarray
    steps: int
    still: int


class _Links:
    """Distances that are kept between the vertices of two views [3, K, L] of the grid; `share`: of the error, what one end takes."""

    def __init__(self, first: np.ndarray, second: np.ndarray, rest: float, share: float):
        self.first, self.second, self._rest, self._share = first, second, rest * rest, share
        self._d, self._part = np.empty(first.shape), np.empty(first.shape[1:])

    def pull(self) -> None:
        """(length - rest) / length to first order in the error: 1 - 2 rest^2 / (length^2 + rest^2); no root, and no division by zero."""
        d, part = self._d, self._part
        np.subtract(self.second, self.first, out=d)
        np.einsum("akl,akl->kl", d, d, out=part)
        part += self._rest
        np.divide(-2.0 * self._share * self._rest, part, out=part)
        part += self._share
        d *= part
        self.first += d
        self.second -= d


class ClothDynamics:
    """`rate`: steps a second; `grip`: with what force the fingers press on what they pinch, N."""

    def __init__(self, cloth: Cloth, rate: float = 500.0, grip: float = 0.0):
        self.cloth, self.rate, self.period = cloth, rate, 1.0 / rate
        self.vertex_mass = cloth.mass / cloth.n**2
        self._grip = grip * self.period**2 / self.vertex_mass
        vertices = np.array(cloth.vertices, dtype=np.float64).reshape(-1, 3)
        if len(vertices) != cloth.n**2:
            raise ValueError(f"{cloth.name}: {len(vertices)} vertices, a square of {cloth.n} x {cloth.n} has {cloth.n**2}")
        # Each axis by itself, so that numpy's inner loops are long; `position` [n n, 3] is a view of it.
        self._axes = np.array(vertices.T, order="C")
        self.position = self._axes.T
        self.velocity = np.zeros((3, cloth.n**2)).T
        self._before = np.zeros((3, cloth.n**2)).T
        self._steps, self._still = 0, 0
        self._pairs = np.empty((0, 2), dtype=np.intp)
        self._radius = cloth.thickness / 2
        self._links = self._colours()

    def _colours(self) -> list[_Links]:
        """The constraints of a step in their order. No vertex is in two of one colour, but where an end takes less than its share."""
        n, a = self.cloth.n, self.cloth.spacing
        grid = self._axes.reshape(3, n, n)
        stiff = self.vertex_mass / self.period**2
        pairs = [(slice(0, n - 1, 2), slice(1, n, 2)), (slice(1, n - 1, 2), slice(2, n, 2))]
        stretch = [_Links(grid[:, i], grid[:, j], a, 0.5) for i, j in pairs]
        stretch += [_Links(grid[:, :, i], grid[:, :, j], a, 0.5) for i, j in pairs]
        # Shear and bending are soft enough for passes in which a vertex takes part twice.
        near, far = slice(0, n - 1), slice(1, n)
        soft, diagonal = 0.5 / (1.0 + 0.5 * SHEAR_COMPLIANCE * stiff) / 2, a * np.sqrt(2.0)
        shear = [_Links(grid[:, near, i], grid[:, far, j], diagonal, soft) for i, j in ((near, far), (far, near))]
        near, far = slice(0, n - 2), slice(2, n)
        soft = 0.5 / (2.0 + BEND_COMPLIANCE * stiff)
        bend = [_Links(grid[:, near], grid[:, far], 2 * a, soft), _Links(grid[:, :, near], grid[:, :, far], 2 * a, soft)]
        # Stretch once more and last: a few vertices between the fingers carry all the others.
        return [*stretch, *shear, *bend, *stretch[::-1]]

    # -- state -------------------------------------------------------------------------------------------------------

    def save(self) -> ClothState:
        return ClothState(self.position.copy(), self.velocity.copy(), self._pairs.copy(), self._steps, self._still)

    def restore(self, state: ClothState) -> None:
        self.position[:], self.velocity[:], self._pairs = state.position, state.velocity, state.pairs.copy()
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
        x, before = self.position, self._before
        before[:] = x
        low, high = self._extent()
        margin = self._radius + FASTEST * self.period
        if self.asleep and pinned is None and not fixed.moved and tool.touch(x, low, high, margin) is None:
            return None
        self._still = 0 if self.asleep else self._still
        v = self.velocity
        v[:, 2] -= GRAVITY * self.period
        v *= 1.0 - DRAG * self.period
        np.clip(v, -FASTEST, FASTEST, out=v)
        x += v * self.period
        for links in self._links:
            links.pull()
        self._part_layers(x, before)
        if pinned is not None:
            x[pinned[0]] = pinned[1]
        low, high = self._extent()
        held = tool.touch(x, low, high, self._radius)
        moved = None
        if held is not None:
            moved = held.push(x).sum(axis=0)
            low, high = self._extent()
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

    def _extent(self) -> tuple[np.ndarray, np.ndarray]:
        return self._axes.min(axis=1), self._axes.max(axis=1)

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
