"""Acting and learning in turns: one episode of a cell, then its updates (spec 001c section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from apprentice_core.bundle import read_manifest
from apprentice_core.cell import EpisodeRef, EpisodeRequest, SourceAction
from apprentice_core.episode import EpisodeContext, Segment
from apprentice_core.errors import ApprenticeError, BundleError
from apprentice_core.spaces import ActionSpace, Observation
from apprentice_learning.checkpoint import checkpoints
from apprentice_learning.online.loop import OnlineTrainer
from apprentice_learning.run_state import ProgressCallback, TrainResult
from apprentice_learning.runner import PolicyRunner

FAILED_EPISODES = 5
"""ours: so many episodes in a row without a commit end the run"""
Requests = Callable[[int, dict[str, Any]], EpisodeRequest]
"""(number of the episode, metadata that tell the policy how to explore) -> the request, seeded by the number"""


class Runs(Protocol):
    """What runs episodes: a Cell, or one with somebody beside it."""

    def run(self, request: EpisodeRequest) -> EpisodeRef: ...


def acting_of(bundle: Path) -> dict[str, Any]:
    """What the trainer that exported the bundle wants in an episode's metadata: its `acting` then. BundleError for another bundle."""
    told = read_manifest(bundle).config.get("acting")
    kinds = {"exploration": str, "exploration_noise": float, "deterministic": bool}
    if not isinstance(told, dict) or any(not isinstance(v, kinds.get(k, ())) for k, v in told.items()):
        raise BundleError(f"{bundle}: config.acting: {told!r} does not say how to explore; it is no bundle of an online run")
    return told


class NewestPolicy:
    """An ActionSource that drives with the newest bundle of a folder. It looks at the start of an episode and never during one (X11).

    `allow_tracked`: as PolicyRunner's; the cell then hands it the privileged channel.
    """

    def __init__(self, bundles: Path, action_space: ActionSpace | None = None, name: str = "policy", allow_tracked: bool = False):
        self.name, self.bundles, self.action_space_of_cell, self.needs_privileged = name, bundles, action_space, allow_tracked
        self._path: Path | None = None
        self.bundle_id = ""
        self._runner: PolicyRunner | None = None

    def reset(self, context: EpisodeContext) -> None:
        """ApprenticeError when there is no bundle yet, BundleError when the newest does not fit."""
        found = checkpoints(self.bundles)
        if not found:
            raise ApprenticeError(f"{self.bundles}: holds no policy bundle yet")
        if self._path != found[-1]:
            self._runner = PolicyRunner(found[-1], self.action_space_of_cell, name=self.name, allow_tracked=self.needs_privileged)
            self._path, self.bundle_id = found[-1], self._runner.bundle_id
        self._driving().reset(context)

    def act(self, observation: Observation, segment: Segment, privileged: dict[str, np.ndarray] | None = None) -> SourceAction:
        return self._driving().act(observation, segment, privileged)

    def observe(self, observation: Observation, executed: np.ndarray) -> None:
        self._driving().observe(observation, executed)

    def _driving(self) -> PolicyRunner:
        if self._runner is None:
            raise ApprenticeError("the policy was asked to act before an episode began")
        return self._runner


def practise(
    trainer: OnlineTrainer, cell: Runs, requests: Requests, after: Callable[[EpisodeRef], None] = lambda ref: None,
    progress: ProgressCallback | None = None,
) -> TrainResult:
    """Episode and updates in turn until `config.steps`, each episode with the policy of all before it. The cell has to commit its episodes
    into the trainer's journal, and its source has to be a NewestPolicy of the trainer's bundles.

    Episode number n is requested with n alone, so a run that was killed and resumed asks for the same ones. `after` sees each episode's
    end, after its updates. ApprenticeError when episode after episode comes to nothing.
    """
    failed = 0
    with trainer.running():
        trainer.advance()
        bundle = trainer.export()
        while not trainer.finished and not trainer.stopped:
            ref = cell.run(requests(trainer.episodes, trainer.acting))
            failed = 0 if trainer.advance() else failed + 1
            if failed >= FAILED_EPISODES:
                raise ApprenticeError(f"{failed} episodes in a row were not committed; the last ended with {ref.reason!r}")
            bundle = trainer.export()
            after(ref)
            if progress:
                progress(trainer.steps, trainer.config.steps, {})
    return trainer.result(bundle)
