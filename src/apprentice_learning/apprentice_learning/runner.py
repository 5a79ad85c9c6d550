"""Acting with a bundle: the one policy runner of evaluation, simulation and the policy node (contract 7)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from apprentice_core.cell import SourceAction
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import BundleError
from apprentice_core.spaces import ActionSpace, ArraySpec, Observation
from apprentice_core.streams import TRACKED
from apprentice_learning.bundles import read_policy
from apprentice_learning.networks.vector_input import GOAL

UNIFORM = "uniform"


class PolicyRunner:
    """An ActionSource. Deterministic (mean) or sampled as the episode's context says; sampling and exploration go into
    `SourceAction.noise`, so that the record tells the policy's answer from what was added to it.

    `exploration_noise`: std of Gaussian noise in [-1, 1] units, ours 0 (spec 000 section 8 uses 0.1 to gather data); an
    episode's metadata may set `exploration_noise` for itself, or `exploration: uniform` (every action uniform in [-1, 1]: a
    learner's warm-up, spec 001c section 2.3). Inputs `goal/<name>` come from the segment's goal. A recurrent policy's state is zero
    at the start of each episode, and goes on with every observation, whoever drives. Inputs are allocated once; act() takes one thread.

    A bundle that reads object poses, `tracked/...`, gets them from the observation of a cell whose cameras track them. `allow_tracked`:
    where the cell does not, feed them from the privileged channel; only what runs a simulation for an experiment sets it.
    """

    def __init__(
        self, bundle: Path | str, action_space: ActionSpace | None = None, exploration_noise: float = 0.0, name: str = "policy",
        allow_tracked: bool = False,
    ):
        """Raises BundleError when the bundle is malformed, or was trained for another action space than the cell's."""
        torch.set_num_threads(1)
        self.name = name
        self.manifest, self.network, self.bundle_id = read_policy(Path(bundle))
        if action_space is not None and self.manifest.action_space_hash not in ("", action_space.hash):
            raise BundleError(
                f"{bundle}: action_space_hash: trained for {self.manifest.action_space} "
                f"({self.manifest.action_space_hash}), the cell has {action_space.name} ({action_space.hash})"
            )
        if action_space is not None and action_space.size != self.network.actions:
            raise BundleError(f"{bundle}: network.actions: {self.network.actions}, the cell takes {action_space.size}")
        self.exploration_noise = exploration_noise
        self.specs = tuple(ArraySpec(a.name, a.shape, a.dtype, a.unit) for a in self.manifest.observation)
        self.needs_privileged = allow_tracked and any(s.name.startswith(TRACKED) for s in self.specs)
        self._input = {s.name: torch.zeros((1, *s.shape), dtype=_torch_dtype(s)) for s in self.specs}
        self._arrays = {n: t.numpy()[0] for n, t in self._input.items()}
        self._generator = np.random.default_rng(0)
        self._sample, self._uniform, self._noise = False, False, exploration_noise
        self._start = self._state = self.network.initial_state(1)
        self._steps = 0
        self._seen: Observation | None = None
        self._segment: Segment | None = None
        with torch.inference_mode():
            self.network.step(self._input, self._start)  # the first call of a network chooses its kernels, and is slow

    def check(self, specs: tuple[ArraySpec, ...], privileged: tuple[ArraySpec, ...] = ()) -> None:
        """BundleError when a cell with these observation (and privileged) arrays cannot feed the policy. What a segment's goal holds shows
        only when it runs."""
        given = {s.name: s for s in specs}
        known = ({TRACKED + s.name: s for s in privileged} if self.needs_privileged else {}) | given
        for spec in self.specs:
            if spec.name.startswith(GOAL):
                continue
            have = known.get(spec.name)
            if have is None or have.shape != spec.shape or have.dtype != spec.dtype:
                got = "nothing of that name" if have is None else f"{have.dtype} {have.shape}"
                if spec.name.startswith(TRACKED) and have is None:
                    got += " (no tracker; the simulation's own poses are for experiments alone)"
                raise BundleError(f"observation.{spec.name}: the policy reads {spec.dtype} {spec.shape}, the cell gives {got}")

    def reset(self, context: EpisodeContext) -> None:
        seed = context.seed if context.seed is not None else int.from_bytes(context.episode_id.encode()[-8:], "big")
        self._generator = np.random.default_rng([abs(seed), 3])
        self._sample = not context.deterministic
        self._uniform = context.metadata.get("exploration") == UNIFORM
        self._noise = float(context.metadata.get("exploration_noise", self.exploration_noise))
        self._state, self._steps, self._seen, self._segment = self._start, 0, None, None

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        """Observation -> float32 [A] in [-1, 1]. ValueError names an array of the wrong form; a NaN gives zeros and fault 'nan'."""
        values = self._advance(observation, segment, privileged)
        if not np.isfinite(values).all():
            return SourceAction(np.zeros(self.network.actions, dtype=np.float32), fault="nan")
        noise = self._draw(values)
        if noise is not None and not np.isfinite(noise).all():
            return SourceAction(np.zeros(self.network.actions, dtype=np.float32), fault="nan")
        return SourceAction(values, noise=noise)

    def _advance(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None) -> np.ndarray:
        """One step of the network. A state that is not finite is not kept: one bad observation must not spoil the rest of an episode."""
        for spec in self.specs:
            array = self._find(spec.name, observation, segment, privileged)
            if array is None:
                raise ValueError(f"{'the segment has no goal' if spec.name.startswith(GOAL) else 'observation lacks'} {spec.name}")
            if array.shape != spec.shape or array.dtype != spec.dtype:
                raise ValueError(f"{spec.name}: {array.dtype} {array.shape}, the policy reads {spec.dtype} {spec.shape}")
            np.copyto(self._arrays[spec.name], array)
        period = self.network.state_reset_period
        state = self._start if period and self._steps % period == 0 else self._state
        with torch.inference_mode():
            mean, after = self.network.step(self._input, state)
        values = mean[0].numpy().copy()
        self._state = after if all(bool(torch.isfinite(s).all()) for s in after) else state
        self._steps += 1
        self._seen, self._segment = observation, segment
        return values

    @staticmethod
    def _find(name: str, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None) -> np.ndarray | None:
        if name.startswith(TRACKED) and name not in observation:
            return (privileged or {}).get(name.removeprefix(TRACKED))
        if name.startswith(GOAL):
            return segment.goal.get(name.removeprefix(GOAL))
        return observation.get(name)

    def _draw(self, values: np.ndarray) -> np.ndarray | None:
        if self._uniform:
            return (self._generator.uniform(-1.0, 1.0, len(values)) - values).astype(np.float32)
        if not self._sample and not self._noise:
            return None
        noise = np.zeros(self.network.actions)
        if self._sample:
            z = torch.from_numpy(self._generator.standard_normal((1, len(noise)))).float()
            with torch.inference_mode():
                noise += self.network.sample_noise(self._input, z)[0].numpy()
        if self._noise:
            noise += self._noise * self._generator.standard_normal(len(noise))
        return noise.astype(np.float32)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        """Someone else drove this step. A recurrent state moves on with the observation, unless `act` was asked about it already.
        One on tracked poses stands still: nobody else drives where it may run."""
        if self._state and observation is not self._seen and not self.needs_privileged:
            self._advance(observation, self._segment or Segment(), None)


def _torch_dtype(spec: ArraySpec) -> torch.dtype:
    return torch.from_numpy(np.zeros(0, dtype=spec.dtype)).dtype
