"""The procedural family of chapter 10 (spec 001c section 6): plugs and sockets in six clusters of shape, drawn from a seed.

Names are ours; four of them stand for the held-out connectors of section 4.6 and carry those names. Everything a connector's seed
draws is ours: the thesis's connectors are real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from apprentice_sim.connectors.connector import Connector, Outline, Post, Spring, d_shape, polygon, rectangle

CLUSTERS = ("round", "slot", "two_pin", "three_pin", "d_shape", "square")
DEPTHS = {"round": 0.008, "slot": 0.010, "two_pin": 0.013, "three_pin": 0.014, "d_shape": 0.007, "square": 0.006}
"""success depth of each cluster, m, within the spec's 5 to 15 mm"""
CLEARANCE = (2e-4, 1e-3)
"""m a side (spec 001c section 6)"""
HELD_OUT = {"dt12_1": "d_shape", "megablock_1x1": "square", "nema_15": "three_pin", "europlug": "two_pin"}
"""the four test connectors of section 4.6, each with its cluster"""
FACE = (-0.021, 0.021, -0.016, 0.016)
PER_CLUSTER = 5
FAMILY_SEED = 20


@dataclass(frozen=True)
class Look:
    """How a domain looks (section 6): `texture` seed of the socket's and the board's pattern, `light` direction [3], `background` id,
    `jitter` of the camera, m and m at the point that it looks at, [6]."""

    texture: int
    light: tuple[float, float, float]
    background: int
    jitter: tuple[float, ...]


def _cells(columns: int) -> list[tuple[float, float, float, float]]:
    x0, x1, y0, y1 = FACE
    edges = np.linspace(x0, x1, columns + 1)
    return [(float(a), float(b), y0, y1) for a, b in pairwise(edges)]


def _two(outline: Callable[[tuple[float, float]], Outline], pitch: float) -> tuple[Post, ...]:
    return tuple(Post(outline((x, 0.0)), cell) for x, cell in zip((-pitch / 2, pitch / 2), _cells(2), strict=True))


def _posts(cluster: str, rng: np.random.Generator) -> tuple[Post, ...]:
    size = float(rng.uniform(0.85, 1.15))
    if cluster == "round":
        return (Post(polygon(0.0045 * size, 10), FACE),)
    if cluster == "slot":
        return (Post(rectangle(0.0130 * size, 0.0040 * float(rng.uniform(0.8, 1.3))), FACE),)
    if cluster == "two_pin":
        radius = 0.0022 * size
        return _two(lambda at: polygon(radius, 8, at), 0.0150 * float(rng.uniform(0.9, 1.1)))
    if cluster == "three_pin":
        blade, pitch = (0.0020 * size, 0.0064 * size), 0.0127
        x0, x1, y0, y1 = FACE
        lower = Post(polygon(0.0023 * size, 8, (0.0, -0.0085)), (x0, x1, y0, -0.0040))
        left = Post(rectangle(*blade, (-pitch / 2, 0.0030)), (x0, 0.0, -0.0040, y1))
        right = Post(rectangle(*blade, (pitch / 2, 0.0030)), (0.0, x1, -0.0040, y1))
        return (lower, left, right)
    if cluster == "d_shape":
        return (Post(d_shape(0.0160 * size, 0.0085 * float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.001, 0.002))), FACE),)
    side = 0.0095 * size
    return (Post(rectangle(side, side * float(rng.uniform(0.9, 1.0))), FACE),)


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    return (*(float(v) for v in rng.uniform(0.1, 0.9, 3)), 1.0)


def _springs(posts: tuple[Post, ...], depth: float, rng: np.random.Generator) -> tuple[Spring, ...]:
    """One pair a post, that faces each other across y."""
    stiffness, out = float(rng.uniform(1.2e4, 2.2e4)), []
    for post in posts:
        corners = np.array(post.outline)
        x = float(corners[:, 0].mean())
        for sign, y in ((-1.0, float(corners[:, 1].max())), (1.0, float(corners[:, 1].min()))):
            out.append(Spring(x, y, 0.0, sign, 0.45 * depth, stiffness / len(posts), 2e-4))
    return tuple(out)


def make(name: str, cluster: str, seed: int, family: str = "") -> Connector:
    """The connector of a cluster that `seed` draws; ValueError for an unknown cluster."""
    if cluster not in CLUSTERS:
        raise ValueError(f"no cluster {cluster!r}; known: {', '.join(CLUSTERS)}")
    rng = np.random.default_rng([FAMILY_SEED, CLUSTERS.index(cluster), seed])
    posts = _posts(cluster, rng)
    depth = float(np.clip(DEPTHS[cluster] * rng.uniform(0.9, 1.1), 0.005, 0.015))
    # Tight ones are as common as loose ones on a scale of factors.
    clearance = float(np.exp(rng.uniform(*np.log(CLEARANCE))))
    chamfer = float(rng.uniform(2e-4, 6e-4))
    friction = float(rng.uniform(0.2, 0.35))
    return Connector(
        name, cluster, posts, depth, clearance, (chamfer, 1.2 * chamfer), (0.8 * chamfer, chamfer), friction=friction, spring_friction=0.3,
        springs=_springs(posts, depth, rng), scatter=(1.5e-4, 1e-4, 0.004, 0.002), plug_colour=_colour(rng), socket_colour=_colour(rng),
        family=family or cluster,
    )


def family() -> dict[str, Connector]:
    """All connectors by name: `PER_CLUSTER` of each cluster, the four test connectors and a close variant of each.

    What belongs to one `Connector.family` is held out together with its test connector.
    """
    out: dict[str, Connector] = {}
    for cluster in CLUSTERS:
        for i in range(PER_CLUSTER):
            out[f"{cluster}_{i}"] = make(f"{cluster}_{i}", cluster, i)
    for k, (name, cluster) in enumerate(HELD_OUT.items()):
        test = make(name, cluster, 100 + k, name)
        # The same part from another maker: its colours and its fit differ.
        variant = make(f"{name}_b", cluster, 200 + k, name)
        out[name] = test
        out[f"{name}_b"] = replace(test, name=f"{name}_b", clearance=variant.clearance, socket_colour=variant.socket_colour,
                                   plug_colour=variant.plug_colour)
    return out


def domain_look(connector: str, robot: int) -> Look:
    """The looks of a domain (connector on one of the robots), always the same; the robots' cameras differ by `ROBOT_VIEWS`."""
    rng = np.random.default_rng([FAMILY_SEED, robot, *connector.encode()])
    light = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, -0.2)), float(rng.uniform(1.0, 1.8)))
    jitter = tuple(float(v) for v in rng.normal(0.0, 0.004, 6))
    return Look(int(rng.integers(2**31)), light, int(rng.integers(8)), jitter)


ROBOT_VIEWS = (((0.109, -0.233, 0.275), 15.0), ((-0.18, -0.18, 0.273), 15.0))
"""eye of the fixed camera of each virtual robot, relative to the socket's mount at table height, m, and its field of view, degrees (ours).
They look down by 45 degrees: from nearer the table one picture cannot tell a plug behind its socket from one above it"""
