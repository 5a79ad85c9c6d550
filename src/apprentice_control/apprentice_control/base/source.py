"""Controllers as action sources, alone or as the base of a residual, and a trained policy as a controller (A20)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apprentice_control.scripted.servo import episode_rng
from apprentice_core.cell import ActionSource, Controller, SourceAction
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.spaces import ActionSpace, Observation


class PolicyController:
    """A trained policy as base controller: an ActionSource that has a bundle, asked for its mean, its noise left out."""

    def __init__(self, policy: ActionSource):
        if not policy.bundle_id:
            raise ValueError(f"{policy.name}: only a policy that came from a bundle can be a base controller; nothing else stays as it is")
        self.policy = policy
        self.needs_privileged = policy.needs_privileged
        self.version_hash = f"PolicyController/{policy.bundle_id}"

    def begin(self, context: EpisodeContext) -> None:
        self.policy.reset(replace(context, deterministic=True, metadata={**context.metadata, "exploration_noise": 0.0}))

    def action(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """NaN where the policy has no usable answer: the mixing then moves nothing and says so."""
        answer = self.policy.act(observation, segment, privileged)
        return np.full_like(answer.values, np.nan) if answer.fault else answer.values


class ControllerSource:
    """ActionSource. An episode whose metadata names another `base_hash` is refused at its first step: what was learned on one controller
    does not fit another (A4). Only the base is asked: a controller may also stand above one, as its residual.

    `noisy`: the part of steps in which a uniformly drawn action is executed instead (C1: 0.2); it goes into `noise`, the values stay clean.
    """

    bundle_id = ""

    def __init__(self, controller: Controller, space: ActionSpace, name: str = "base", noisy: float = 0.0, seed: int = 0):
        if not 0.0 <= noisy <= 1.0:
            raise ValueError(f"noisy must be within 0 and 1, not {noisy}")
        self.controller, self.action_space, self.name, self.noisy, self.seed = controller, space, name, noisy, seed
        self.base_hash = controller.version_hash
        self.needs_privileged = bool(getattr(controller, "needs_privileged", False))
        self._rng = np.random.default_rng(seed)
        self._fault = ""

    def reset(self, context: EpisodeContext) -> None:
        wanted = str(context.metadata.get("base_hash", "") or self.base_hash)
        above = self.name in context.source.split("+")[1:]
        self._fault = "" if above or wanted == self.base_hash else f"base controller is {self.base_hash}, the episode is for {wanted}"
        self._rng = episode_rng(self.seed, context)
        begin = getattr(self.controller, "begin", None)
        if begin is not None:
            begin(context)

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        if self._fault:
            return SourceAction(self.action_space.neutral(), fault=self._fault, request_end=True)
        if isinstance(self.controller, PolicyController):
            values = self.controller.action(observation, segment, privileged)
        else:
            values = self.controller.action(observation, segment)
        noise = None
        if self.noisy > 0:
            # Both are drawn in every step, so that one step's luck does not shift the next one's.
            lucky, drawn = self._rng.uniform(), self._rng.uniform(-1.0, 1.0, len(values))
            noise = (drawn - values).astype(np.float32) if lucky < self.noisy else np.zeros(len(values), dtype=np.float32)
        return SourceAction(values, noise)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove: the controllers read where the tool is, so there is nothing to catch up."""
