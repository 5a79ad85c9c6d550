"""One plug and its socket: posts in wells, chamfers, contact springs and their wear, built from convex parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice_sim.bodies import Body, Part

SKIN = 2e-5
"""m that the contact search adds around each hull; clearances are true beyond it (ours)"""
DAMPING = 20.0
"""of a contact spring, N s/m (ours)"""
SPRING_RADIUS = 1.5e-3
WEAR_FLOOR, WEAR_LIFE = 0.6, 1500.0
"""a worn spring's share of friction, and the cycles after which 63 % of the loss has happened: USB is rated for 1,500 (ours)"""
REPLACE_CYCLES = 1500
"""matings after which the adapter is to be replaced (ours; spec 001c section 3.1 names no number)"""
Outline = tuple[tuple[float, float], ...]


def rectangle(x: float, y: float, at: tuple[float, float] = (0.0, 0.0)) -> Outline:
    """Sides x and y, m, counter-clockwise."""
    return tuple((at[0] + sx * x / 2, at[1] + sy * y / 2) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1)))


def polygon(radius: float, corners: int, at: tuple[float, float] = (0.0, 0.0)) -> Outline:
    """A regular polygon around a circle of `radius` m: the circle touches its sides."""
    outer = radius / math.cos(math.pi / corners)
    turn = [2 * math.pi * (i + 0.5) / corners for i in range(corners)]
    return tuple((at[0] + outer * math.cos(a), at[1] + outer * math.sin(a)) for a in turn)


def d_shape(x: float, y: float, slant: float) -> Outline:
    """A trapezium of height y: width x on the far side, x - 2 slant on the near one."""
    return ((-x / 2 + slant, -y / 2), (x / 2 - slant, -y / 2), (x / 2, y / 2), (-x / 2, y / 2))


def offset(outline: Sequence[Sequence[float]], by: float) -> np.ndarray:
    """The convex outline with every side moved outwards by `by` m, [K, 2]."""
    a = np.asarray(outline, dtype=np.float64)
    edge = np.roll(a, -1, axis=0) - a
    normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
    level = np.einsum("ki,ki->k", normal, a) + by
    corners = []
    for i in range(len(a)):
        j = i - 1
        corners.append(np.linalg.solve(np.stack([normal[j], normal[i]]), np.array([level[j], level[i]])))
    return np.array(corners)


def _hull(points: np.ndarray) -> Part:
    return Part("hull", tuple(np.asarray(points).round(9).ravel().tolist()))


def _layers(*layers: tuple[np.ndarray, float]) -> Part:
    return _hull(np.concatenate([np.c_[xy, np.full(len(xy), z)] for xy, z in layers]))


@dataclass(frozen=True)
class Post:
    """A convex pin, tongue or shell of the plug. `cell`: x low, x high, y low, y high of the part of the socket's face around its well."""

    outline: Outline
    cell: tuple[float, float, float, float]


@dataclass(frozen=True)
class Spring:
    """A rounded contact spring in the wall of a well: where it presses on the plug's side (x, y), which way (unit nx, ny), at which
    height above the well's floor; `stiffness` N/m and how far it stands out beyond the plug's side when that is fully in, m."""

    x: float
    y: float
    nx: float
    ny: float
    height: float
    stiffness: float
    interference: float

    @property
    def force(self) -> float:
        """N on the side of a plug in the middle."""
        return self.stiffness * self.interference


@dataclass(frozen=True)
class Connector:
    """Lengths in m. The plug's tip is the origin of its frame, the centre of the wells' floor that of the socket's; z up.

    `depth` of the wells; `clearance` between a post and each wall; `mouth` and `tip`: chamfers of the well and of the post (sideways,
    upwards); `friction` of plug on walls, `spring_friction` on springs when new; `scatter`: standard deviations of the grasp: sideways m,
    along z m, about z rad, tilt rad; `reach`: from the tip to where the fingers hold the handle; `mass` kg with the adapter and its cable,
    `inertia` kg m^2: more than the plug's own 5e-5, for a contact solver that meets an arm of a hundred times its weight (ours).
    """

    name: str
    cluster: str
    posts: tuple[Post, ...]
    depth: float
    clearance: float
    mouth: tuple[float, float]
    tip: tuple[float, float]
    friction: float = 0.3
    spring_friction: float = 0.3
    springs: tuple[Spring, ...] = ()
    scatter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    handle: tuple[float, float, float] = (0.016, 0.010, 0.022)
    reach: float = 0.035
    mass: float = 0.1
    inertia: float = 1e-4
    plug_colour: tuple[float, ...] = (0.78, 0.79, 0.82, 1.0)
    handle_colour: tuple[float, ...] = (0.12, 0.12, 0.14, 1.0)
    socket_colour: tuple[float, ...] = (0.16, 0.30, 0.52, 1.0)
    family: str = ""

    @property
    def grip_width(self) -> float:
        return self.handle[1]

    @property
    def push_force(self) -> float:
        """N that a new connector's springs resist a centred plug with: what statics demands of the arm."""
        return self.spring_friction * sum(s.force for s in self.springs)

    @property
    def face(self) -> tuple[float, float, float, float]:
        """x low, x high, y low, y high of the socket's upper face."""
        cells = np.array([post.cell for post in self.posts])
        return float(cells[:, 0].min()), float(cells[:, 1].max()), float(cells[:, 2].min()), float(cells[:, 3].max())

    def worn_friction(self, cycles: int) -> float:
        """Of the springs after so many matings: contacts polish, so that a plug goes in easier (spec 001c section 3.1)."""
        return self.spring_friction * (WEAR_FLOOR + (1.0 - WEAR_FLOOR) * math.exp(-cycles / WEAR_LIFE))

    def plug(self) -> Body:
        """Held at its body frame, which lies `reach` above the tip."""
        parts = []
        for post in self.posts:
            full, tip = offset(post.outline, -SKIN), offset(post.outline, -SKIN - self.tip[0])
            low = SKIN - self.reach
            parts.append(_layers((tip, low), (full, low + self.tip[1]), (full, self.depth - self.reach + 0.001)))
        x, y, z = self.handle
        bottom = self.depth + 0.001 - self.reach
        parts.append(_box((x, y, z), (0.0, 0.0, bottom + z / 2)))
        return Body("plug", self.name, tuple(parts), self.plug_colour, self.mass, self.friction, origin=(0.0, 0.0, -self.reach),
                    margin=SKIN, inertia=self.inertia)

    def socket(self) -> Body:
        """Walls of every well, and the floor below them; its frame is at the floor, so the body frame is the privileged one."""
        parts = []
        for post in self.posts:
            inner = offset(post.outline, self.clearance + SKIN)
            wide = offset(post.outline, self.clearance + SKIN + self.mouth[0])
            outer = self._on_rim(inner, post.cell)
            for i in range(len(inner)):
                j = (i + 1) % len(inner)
                rim = np.array([outer[i], *self._corners_between(outer[i], outer[j], post.cell), outer[j]])
                side, bevel = np.array([inner[i], inner[j]]), np.array([wide[i], wide[j]])
                lower, upper = np.concatenate([side, rim]), np.concatenate([bevel, rim])
                parts.append(_layers((lower, -0.002), (side, self.depth - self.mouth[1]), (upper, self.depth - SKIN)))
        x0, x1, y0, y1 = self.face
        parts.append(_box((x1 - x0, y1 - y0, 0.01), ((x0 + x1) / 2, (y0 + y1) / 2, -0.005 - SKIN)))
        return Body("socket", self.name, tuple(parts), self.socket_colour, friction=1.0, tracked=True, margin=SKIN)

    def contacts(self, cycles: int = 0) -> Body | None:
        """The springs after so many matings, None without any."""
        if not self.springs:
            return None
        parts = tuple(
            Part("sphere", (SPRING_RADIUS,), (
                s.x + s.nx * (s.interference - SPRING_RADIUS) , s.y + s.ny * (s.interference - SPRING_RADIUS), s.height,
            )) for s in self.springs
        )
        # PyBullet multiplies the frictions of the two bodies in contact.
        friction = self.worn_friction(cycles) / self.friction
        return Body("contacts", f"{self.name}_contacts", parts, (0.85, 0.70, 0.30, 1.0), friction=friction,
                    stiffness=self.springs[0].stiffness, damping=DAMPING)

    @staticmethod
    def _on_rim(inner: np.ndarray, cell: tuple[float, float, float, float]) -> np.ndarray:
        """Each corner of the well carried outwards from its middle to the rim of the cell."""
        middle = inner.mean(axis=0)
        low, high = np.array(cell[::2]), np.array(cell[1::2])
        out = []
        for corner in inner:
            ray = corner - middle
            with np.errstate(divide="ignore"):
                reach = np.where(ray > 0, (high - middle) / ray, np.where(ray < 0, (low - middle) / ray, np.inf))
            out.append(middle + ray * float(reach.min()))
        return np.array(out)

    @staticmethod
    def _corners_between(a: np.ndarray, b: np.ndarray, cell: tuple[float, float, float, float]) -> list[np.ndarray]:
        """The corners of the cell on the way from a to b, counter-clockwise."""
        x0, x1, y0, y1 = cell
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])

        def angle(point: np.ndarray) -> float:
            return math.atan2(*(point - middle)[::-1])

        first = angle(a)
        span = (angle(b) - first) % (2 * math.pi)
        corners = [np.array(c) for c in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        between = [(((angle(c) - first) % (2 * math.pi)), c) for c in corners]
        return [c for turn, c in sorted(between, key=lambda x: x[0]) if 1e-9 < turn < span - 1e-9]


def _box(size: tuple[float, float, float], at: tuple[float, float, float]) -> Part:
    """A box as a hull, so that its body keeps one kind of part."""
    return _hull(np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)]) * size + at)


def pair(x: float, y: float, height: float, stiffness: float, interference: float) -> tuple[Spring, Spring]:
    """Two springs that face each other across y and press on sides at +-y/2, m."""
    return (Spring(x, y / 2, 0.0, -1.0, height, stiffness, interference), Spring(x, -y / 2, 0.0, 1.0, height, stiffness, interference))
