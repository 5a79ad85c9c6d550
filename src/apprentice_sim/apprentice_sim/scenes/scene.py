"""Placing objects: named starts from the task, or random ones from a seed with overlaps rejected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from apprentice_core.config import EvaluationStart, TaskConfig
from apprentice_core.errors import ApprenticeError, ConfigError
from apprentice_core.tracking import marker_corners
from apprentice_sim.bodies import Body, radius
from apprentice_sim.cloth.dynamics import Cloth
from apprentice_sim.grip import Held
from apprentice_sim.shapes import Shape, shape


@dataclass(frozen=True)
class ObjectChoice:
    """A movable object: its colour and the shapes that training may give it, with their odds."""

    name: str
    colour: str
    shapes: Mapping[str, float]

    def draw(self, rng: np.random.Generator) -> Shape:
        names = sorted(self.shapes)
        odds = np.array([self.shapes[n] for n in names])
        return shape(names[int(rng.choice(len(names), p=odds / odds.sum()))])


@dataclass(frozen=True)
class Contact:
    """How contacts are solved where the world's own way is too coarse: `iterations` a step, `erp`: share of a penetration that a step
    takes back, `threshold`: m from which on two faces count as near."""

    iterations: int
    erp: float
    threshold: float


class Scene(ABC):
    """`region`: where random objects may stand, (x low, x high, y low, y high) in the base frame, m."""

    objects: tuple[ObjectChoice, ...]
    region: tuple[float, float, float, float]
    gap = 0.012
    """free space kept between any two objects, m (ours)"""
    finger_room = 0.036
    """more of it around the target, so that an open gripper fits on either side, m (ours)"""
    spread = 0.02
    """how far a start drawn near a named one may be from it along each axis, m (ours)"""
    floor = 0.0
    contact: Contact | None = None
    option_defaults: Mapping[str, float] = {}
    """the task's `scene_options` that this scene understands"""

    def __init__(self, task: TaskConfig):
        self.task = task
        unknown = sorted(set(task.scene_options) - set(self.option_defaults))
        if unknown:
            raise ConfigError(task.name, f"scene_options.{unknown[0]}", f"unknown; known: {', '.join(self.option_defaults) or 'none'}")
        self.options = {**self.option_defaults, **task.scene_options}

    @property
    def tracked(self) -> tuple[str, ...]:
        """Names of all that has a privileged pose."""
        return tuple(o.name for o in self.objects)

    @property
    def tool_goal(self) -> np.ndarray | None:
        """Tool position [3] at which what it holds is where it belongs, base frame, m: what a calibration finds; None: no such place."""
        return None

    @property
    def tool_start(self) -> np.ndarray | None:
        """Tool position [3] before an episode that names none; None: the home pose."""
        return None

    def facts(self) -> dict[str, Any]:
        """What an episode's metadata is to say about the scene."""
        return {}

    def held(self, initial_state: str, seed: int | None) -> Held | None:
        """What the gripper holds from the same start on; None: nothing."""
        return None

    def cloth(self, initial_state: str, seed: int | None) -> Cloth | None:
        """The cloth of the same start, at rest; None: there is none."""
        return None

    def marked(self, body: Body) -> Body:
        """The body with the task's markers on it."""
        found = self.task.markers.get(body.name, ())
        corners = [(m.id, tuple((marker_corners(m) + np.array(body.origin)).ravel().tolist())) for m in found]
        return replace(body, markers=tuple(corners)) if found else body

    @abstractmethod
    def fixtures(self) -> tuple[Body, ...]:
        """Bodies that never move."""

    def place(self, initial_state: str, seed: int | None) -> tuple[Body, ...]:
        """The movable bodies of a named start '<set>/<name>', of a start of '<set>' varied by the seed, or of the seed alone;
        ApprenticeError when there is no such start."""
        if initial_state in self.task.starts and seed is not None:
            return self._near(list(self.task.starts[initial_state].values()), np.random.default_rng(seed))
        if initial_state:
            return self._named(self.start(initial_state))
        return self._random(np.random.default_rng(seed))

    def start(self, initial_state: str) -> EvaluationStart:
        group, _, name = initial_state.partition("/")
        try:
            return self.task.starts[group][name]
        except KeyError:
            known = ", ".join(f"{g}/{n}" for g, starts in self.task.starts.items() for n in starts)
            raise ApprenticeError(f"task {self.task.name} has no start named {initial_state!r}; known: {known or 'none'}") from None

    def _named(self, start: EvaluationStart) -> tuple[Body, ...]:
        bodies = []
        for choice in self.objects:
            if choice.name not in start.objects:
                raise ApprenticeError(f"a start of task {self.task.name} does not place {choice.name!r}")
            chosen = shape(start.shapes.get(choice.name, next(iter(choice.shapes))))
            x, y, z, yaw = start.objects[choice.name]
            bodies.append(chosen.body(choice.name, choice.colour).at(x, y, z + chosen.rest_height, yaw))
        return tuple(bodies)

    def _near(self, starts: Sequence[EvaluationStart], rng: np.random.Generator) -> tuple[Body, ...]:
        """One of the starts with its shapes, each object moved by up to `spread` and turned anew; as many different starts as there are
        seeds, so that a set can be judged on more than its ten (spec 000 section 8 asks for 100 episodes a cell)."""
        start = starts[int(rng.integers(len(starts)))]
        chosen = [shape(start.shapes.get(c.name, next(iter(c.shapes)))) for c in self.objects]
        middle = np.array([start.objects[c.name][:2] for c in self.objects])
        return self._free(chosen, middle - self.spread, middle + self.spread, rng)

    def _random(self, rng: np.random.Generator) -> tuple[Body, ...]:
        chosen = [choice.draw(rng) for choice in self.objects]
        return self._free(chosen, np.array(self.region[::2]), np.array(self.region[1::2]), rng)

    def _free(self, chosen: Sequence[Shape], low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> tuple[Body, ...]:
        """The shapes at places between `low` and `high` ([2], or [objects, 2]) that keep clear of each other."""
        sizes = [radius(s.parts) for s in chosen]
        for _ in range(2000):
            spots = rng.uniform(low, high, size=(len(chosen), 2))
            if self._clear(spots, sizes):
                break
        else:
            raise ApprenticeError(f"scene {self.task.scene}: no free places found for {len(chosen)} objects")
        yaws = [float(rng.uniform(-s.yaw_range, s.yaw_range)) for s in chosen]
        return tuple(
            s.body(c.name, c.colour).at(float(xy[0]), float(xy[1]), self.floor + s.rest_height, yaw)
            for c, s, xy, yaw in zip(self.objects, chosen, spots, yaws, strict=True)
        )

    def _clear(self, spots: np.ndarray, sizes: Sequence[float]) -> bool:
        names = [c.name for c in self.objects]
        for i in range(len(spots)):
            for j in range(i):
                room = self.finger_room if self.task.target in (names[i], names[j]) else self.gap
                if np.linalg.norm(spots[i] - spots[j]) < sizes[i] + sizes[j] + room:
                    return False
        return self.spots_allowed(dict(zip(names, spots, strict=True)))

    def spots_allowed(self, spots: Mapping[str, np.ndarray]) -> bool:
        """Further conditions of a scene."""
        return True

