"""The scripted baselines of spec 001c section 4.6: straight down, random and spiral search, and localisation before them.

All press with a force set point: an integral law on the vertical force, so that a stiff contact comes to rest at `force` newtons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from apprentice_control.base.controller import BaseController, goal_position, tool_position
from apprentice_control.scripted.servo import episode_rng
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import Observation
from apprentice_core.wrench import force_in_base


class Localise(Protocol):
    """A model that says of an observation where the socket is: (x, y) in the base frame, m, [2]."""

    model_id: str

    def __call__(self, observation: Observation) -> np.ndarray: ...


@dataclass
class Pressing(BaseController):
    """Straight down from where it stands, then pressing. The lateral place is held, and `search` moves it once there is contact."""

    sensor_in_tool: np.ndarray = field(default_factory=lambda: np.eye(3))
    """[3, 3], orientation of the force sensor in the tool's frame (core's `urdf.hand`)"""
    force: float = 8.0
    """N (spec, ours)"""
    contact: float = 2.0
    """N that count as contact (ours)"""
    descent: float = 0.005
    """m a step in free space (ours)"""
    compliance: float = 1e-4
    """m a step and newton lacking (ours): a contact of up to 10 kN/m settles without swinging"""
    give: float = 0.0
    """m that the arm gives per newton, where commands count from its measured place: there nothing but an offset presses"""
    drop: float = 0.002
    """m below first contact at which the plug counts as entered, and the search ends (ours)"""

    def begin(self, context: EpisodeContext) -> None:
        self._anchor: np.ndarray | None = None
        self._surface = math.nan
        self._searched = 0

    def search(self, count: int) -> np.ndarray:
        """Lateral offset [2] from the anchor at search step `count`, m."""
        return np.zeros(2)

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        tool = tool_position(observation)
        up = float(force_in_base(observation["wrist/wrench"], observation["tool/pose"], self.sensor_in_tool)[2])
        if self._anchor is None:
            self._anchor = tool[:2].copy()
        touching = up > self.contact
        if touching and self._searched >= 0:
            # The first touch may be an impact that has pushed the surface in.
            self._surface = float(np.fmax(self._surface, tool[2]))
        wanted = self._anchor
        if self._searched >= 0 and tool[2] < self._surface - self.drop:
            wanted = self._anchor = tool[:2].copy()
            self._searched = -1
        elif self._searched >= 0 and touching:
            wanted = self._anchor + self.search(self._searched)
            self._searched += 1
        elif self._searched > 0:
            # Nothing below any more: perhaps the mouth of the socket.
            wanted = tool[:2]
        down = -self.descent
        if touching:
            down = float(np.clip(self.compliance * (up - self.force), -self.descent, self.descent)) - self.give * self.force
        return np.append(wanted - tool[:2], down)


@dataclass
class StraightDown(Pressing):
    """No search."""


@dataclass
class RandomSearch(Pressing):
    """After contact to `points` random places within `radius`, one after another, pressing. Drawn anew in each episode, by its seed."""

    points: int = 5
    """paper"""
    radius: float = 0.005
    """m (spec, ours)"""
    dwell: int = 3
    """steps at each (ours)"""

    def begin(self, context: EpisodeContext) -> None:
        super().begin(context)
        rng = episode_rng(0, context)
        radius = self.radius * np.sqrt(rng.uniform(size=self.points))
        angle = rng.uniform(0.0, 2 * math.pi, self.points)
        self._places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def search(self, count: int) -> np.ndarray:
        return self._places[min(count // self.dwell, self.points - 1)]


@dataclass
class SpiralSearch(Pressing):
    """After contact along an Archimedean spiral of `pitch` a turn up to `radius`, pressing, `arc` metres a step; it ends on the rim."""

    pitch: float = 0.001
    """m a turn (spec, ours)"""
    radius: float = 0.005
    """m (spec, ours)"""
    arc: float = 0.003
    """m of the spiral a step (ours): a trial of 20 steps must see most of it"""

    def search(self, count: int) -> np.ndarray:
        # The arc up to an angle is close to rise * angle^2 / 2.
        rise = self.pitch / (2 * math.pi)
        angle = min(math.sqrt(2 * self.arc * count / rise), self.radius / rise)
        return rise * angle * np.array([math.cos(angle), math.sin(angle)])


@dataclass
class CentreLine(BaseController):
    """The expert strategy: laterally to within `within` of the socket's centre line, then straight down.

    The centre is the commanded goal's, or what `localise` says of each observation (localise + expert, C29).
    """

    localise: Localise | None = None
    within: float = 0.001
    """m; paper"""

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        tool = tool_position(observation)
        centre = goal_position(segment)[:2] if self.localise is None else np.asarray(self.localise(observation), dtype=np.float64)
        aside = centre - tool[:2]
        if float(np.linalg.norm(aside)) <= self.within:
            return np.array([0.0, 0.0, -self.step])
        return np.append(aside, 0.0)


@dataclass
class Localised(BaseController):
    """Scenario II (C30): first to where `localise` says, at the height it has, then `then` from there."""

    localise: Localise = field(kw_only=True)
    then: BaseController = field(kw_only=True)
    within: float = 0.001
    """m (ours)"""
    patience: int = 8
    """steps after which it goes on from where it is (ours)"""

    def begin(self, context: EpisodeContext) -> None:
        self._moves = 0
        self.then.begin(context)

    def displacement(self, observation: Observation, segment: Segment) -> np.ndarray:
        if self._moves < self.patience:
            aside = np.asarray(self.localise(observation), dtype=np.float64) - tool_position(observation)[:2]
            if float(np.linalg.norm(aside)) > self.within:
                self._moves += 1
                return np.append(aside, 0.0)
            self._moves = self.patience
        return self.then.displacement(observation, segment)
