"""The off-policy loop: committed episodes in; updates, checkpoints, metrics and bundles out. Decided by seed, resumable to the bit."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice_core.episode import Episode
from apprentice_core.errors import ApprenticeError
from apprentice_core.spaces import ActionSpace, ArraySpec
from apprentice_learning.algorithms.learner import inputs_of
from apprentice_learning.algorithms.td3 import SATURATED
from apprentice_learning.bundles import write_policy
from apprentice_learning.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from apprentice_learning.config import make_device, make_learner
from apprentice_learning.networks.vector_input import GOAL
from apprentice_learning.online.config import OnlineConfig
from apprentice_learning.online.journal import Entry, Journal
from apprentice_learning.online.replay import EpisodeRefused, ReplayBuffer, ReplaySampler, RewardModel
from apprentice_learning.run_state import (
    Means,
    Metrics,
    ProgressCallback,
    TrainResult,
    check_finite,
    fit_normalisers,
    interrupt,
    restore_learner,
    restore_state,
    state_tensors,
)
from apprentice_learning.runner import UNIFORM

BUNDLES = "bundles"


class OnlineTrainer:
    """Follows a journal: each committed episode goes into the replay, then the updates that its steps are owed are done.

    What it comes to depends on config, seed and the order of commits alone, not on when it looks: a trainer that was killed reads the
    journal again up to its checkpoint's position and does the rest over, to the same bits. Torch's global random state is its own while it
    works and put back afterwards, so a cell in the same process does not disturb it.

    `specs`: observation arrays and `goal/<name>` arrays. `prior`: a journal of demonstrations or earlier data, read once. `base_hash`: of
    the base controller; None takes the first episode's. With a `reward_model` all rewards are the model's, those of the prior data too, and
    `use_reward` changes it between two updates.
    """

    def __init__(
        self, config: OnlineConfig, specs: Sequence[ArraySpec], space: ActionSpace, journal: Journal, folder: Path,
        prior: Journal | None = None, base_hash: str | None = None, control_period: float = 0.1, reward_model: RewardModel | None = None,
    ):
        torch.set_num_threads(config.threads)
        self.config, self.space, self.journal, self.folder, self.device = config, space, journal, folder, make_device(config)
        self.control_period, self.reward_model = control_period, reward_model
        self._random = torch.get_rng_state()
        with self._own_random_state():
            torch.manual_seed(config.seed)
            self.learner = make_learner(config, specs, space.size)
        self.learner.set_phase(config.phase)
        for module in self.learner.modules.values():
            module.to(self.device)
        self._names = inputs_of(self.learner)
        self._arrays = tuple(n for n in self._names if not n.startswith(GOAL))
        self.replay = self._buffer(config.capacity, base_hash)
        self._prior_journal, self._prior_position = prior, 0
        self.prior: ReplayBuffer | None = None
        if bool(config.prior_batch) != (prior is not None):
            given = "no" if prior is None else "some"
            raise ApprenticeError(f"{config.name}: prior_batch is {config.prior_batch}, and {given} prior data given")
        self._load_prior(None)
        self.sampler = ReplaySampler(self.replay, config.batch, config.seed, self.prior, config.prior_batch)
        self.position = self.episodes = self.steps = self.transitions = self.updates = self.refused = 0
        self._due, self._fitted, self._seen = 0.0, False, ""
        self._pending: dict[str, float] | None = None
        self._means = Means()
        self._metrics: Metrics | None = None
        self._started, self._first = time.monotonic(), 0
        self._stop = threading.Event()

    # -- state -------------------------------------------------------------------------------------------------------

    def _buffer(self, capacity: int, base_hash: str | None) -> ReplayBuffer:
        c = self.config
        return ReplayBuffer(
            self._names, capacity, c.reward, c.action, reduction=c.network.image_reduction, reward_scale=c.reward_scale,
            reward_shift=c.reward_shift, base_hash=base_hash, model=self.reward_model,
        )

    def use_reward(self, model: RewardModel) -> int:
        """From the next update on every reward, of old data as of new, is this model's (spec 000 line 86); how many were recomputed."""
        rows = sum(buffer.rescore(model) for buffer in (self.replay, self.prior) if buffer is not None)
        self.reward_model = model
        return rows

    def _load_prior(self, until: int | None) -> None:
        """Reads the prior data up to a position (None: all there is)."""
        if self._prior_journal is None:
            return
        self.prior = self._buffer(self.config.capacity, self.replay.base_hash)
        self._prior_position = self._prior_journal.position if until is None else until
        for entry in self._prior_journal.after(0, self._arrays):
            if entry.position > self._prior_position:
                break
            if entry.episode is not None:
                self.prior.add(entry.episode)
        if not len(self.prior):
            raise ApprenticeError(f"{self.config.name}: prior_batch: there is no prior episode")
        self.replay.base_hash = self.prior.base_hash

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        theirs = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            yield
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(theirs)

    def save(self) -> Path:
        """A checkpoint of learner, random states, counters and journal position; the replay is read from the journal again."""
        facts: dict[str, Any] = {
            "config_hash": self.config.hash, "sampler": self.sampler.state, "position": self.position, "episodes": self.episodes,
            "steps": self.steps, "transitions": self.transitions, "updates": self.updates, "refused": self.refused, "due": self._due,
            "fitted": self._fitted, "seen": self._seen, "pending": self._pending, "base_hash": self.replay.base_hash,
            "prior_position": self._prior_position, "reward_model": self.replay.model_id,
        }
        with self._own_random_state():
            return save_checkpoint(
                self.folder / "checkpoints", self.position, state_tensors(self.learner, self.device), facts, self.config.keep_checkpoints
            )

    def resume(self, load_reward: Callable[[str], RewardModel] | None = None) -> bool:
        """Goes on from the newest checkpoint; False when there is none. ApprenticeError when it is of another config or base controller,
        or when the journal's past is another. `load_reward` gives the reward model of an id: the checkpoint's is used again."""
        found = checkpoints(self.folder / "checkpoints")
        if not found:
            return False
        tensors, facts = load_checkpoint(found[-1])
        if facts["config_hash"] != self.config.hash:
            raise ApprenticeError(f"{found[-1]}: belongs to another config; use a new folder or train afresh")
        mine, theirs = self.replay.base_hash, facts["base_hash"]
        if None not in (mine, theirs) and mine != theirs:
            raise ApprenticeError(f"{found[-1]}: base_hash: its residuals belong to base controller {theirs}, this run has {mine}")
        if load_reward is not None and facts.get("reward_model", "") not in ("", self.replay.model_id):
            self.use_reward(load_reward(facts["reward_model"]))
        with self._own_random_state():
            restore_state(tensors, self.learner, self.device)
        self.sampler.state = facts["sampler"]
        self.replay.base_hash = facts["base_hash"]
        if self._prior_journal is not None:
            self._load_prior(facts["prior_position"])
            self.sampler.parts[1] = (self.prior, self.config.prior_batch)  # type: ignore[assignment]
        seen = ""
        for entry in self.journal.after(0, self._arrays):
            if entry.position > facts["position"]:
                break
            seen = _chained(seen, entry.episode_id)
            if entry.episode is not None:
                try:
                    self.replay.add(entry.episode)
                except EpisodeRefused:
                    continue
        if seen != facts["seen"]:
            raise ApprenticeError(f"{found[-1]}: the journal no longer holds the episodes that were learned from; train afresh")
        self._seen, self._due, self._fitted, self._pending = seen, facts["due"], facts["fitted"], facts["pending"]
        for name in ("position", "episodes", "steps", "transitions", "updates", "refused"):
            setattr(self, name, int(facts[name]))
        self._first = self.steps
        return True

    def initialise(self, checkpoint: Path) -> None:
        """Starts from the networks of another run's checkpoint, online or offline (spec 001c A21: residual weights of a simulation), with
        its normalisers; ApprenticeError when they do not fit. Counters, replay and random states are this run's."""
        tensors, _ = load_checkpoint(checkpoint)
        try:
            restore_learner(tensors, self.learner)
        except (ValueError, RuntimeError) as error:
            raise ApprenticeError(f"{checkpoint}: does not fit the learner: {' '.join(str(error).split())[:200]}") from error
        self._fitted = True

    # -- learning ----------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.steps >= self.config.steps and self._due < 1.0

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Asks the loop to end after the current update; safe from a signal handler or another thread."""
        self._stop.set()

    @property
    def acting(self) -> dict[str, Any]:
        """Metadata of the next episode's request: how PolicyRunner is to explore now. A bundle carries it for actors elsewhere."""
        if self.transitions < self.config.warmup:
            return {"exploration": UNIFORM, "deterministic": True}
        return {"exploration_noise": self.config.exploration.noise, "deterministic": not self.config.exploration.sample}

    def advance(self) -> int:
        """Takes up every episode that was committed since, with its updates; returns how many. A checkpoint follows every
        `checkpoint_every` episodes. FloatingPointError when a loss is not finite; ApprenticeError for another base controller."""
        taken = 0
        with self._own_random_state():
            self._pay()
        if self.stopped or self.finished:
            return taken
        for entry in self.journal.after(self.position, self._arrays):
            with self._own_random_state():
                self._take(entry)
                self._pay()
            taken += 1
            if self._pending is None and self.episodes % self.config.checkpoint_every == 0:
                self.save()
            if self.stopped or self.finished:
                break
        return taken

    def _take(self, entry: Entry) -> None:
        added = 0
        if entry.episode is not None:
            try:
                added = self.replay.add(entry.episode)
            except EpisodeRefused as error:
                entry = Entry(entry.position, entry.episode_id, None, str(error))
        self.position, self._seen = entry.position, _chained(self._seen, entry.episode_id)
        self.episodes += 1
        self.refused += entry.episode is None
        warm = self.transitions >= self.config.warmup
        self.transitions += added
        if entry.episode is not None:
            self.steps += len(entry.episode)
            self._pending = self._told(entry.episode)
            # A warm-up's steps are owed nothing: learning starts with what follows it.
            self._due += self.config.updates_per_step * len(entry.episode) if warm else 0.0
        else:
            self._pending = {"refused": float(self.refused)}
        if self.transitions >= self.config.warmup and not self._fitted:
            self._fit_normaliser()

    def _fit_normaliser(self) -> None:
        """Once, on what the warm-up saw (and the prior data): later the same input has to mean the same."""
        vectors = [n for n in self._names if self.replay.columns[n].ndim == 2]
        if vectors:
            parts = [(b, b.starts) for b in (self.prior, self.replay) if b is not None]
            fit_normalisers(self.learner, {n: np.concatenate([b.columns[n][rows] for b, rows in parts]) for n in vectors})
        self._fitted = True

    def _pay(self) -> None:
        """Does the updates that are due, then writes the episode's line."""
        while self._due >= 1.0 and not self.stopped:
            self._means.add(self.learner.update(self.sampler.sample().to(self.device)))
            self._due -= 1.0
            self.updates += 1
        if self._due < 1.0 and self._pending is not None:
            self._write({**self._pending, **self._means.take()})
            self._pending = None

    def _told(self, episode: Episode) -> dict[str, float]:
        reward = episode.rewards[self.config.reward] if self.reward_model is None else self.replay.newest_rewards()
        u = np.clip(episode.actions["residual"] + episode.actions["noise"], -1, 1)
        action = u if self.config.action == "residual" else episode.actions["executed"]
        success = episode.outcome.success
        return {
            "episode/return": float(np.nansum(reward)), "episode/steps": float(len(episode)),
            "episode/saturated": float((np.abs(action) > SATURATED).mean()),
            **({} if success is None else {"episode/success": float(success)}),
        }

    def _write(self, values: dict[str, float]) -> None:
        check_finite(self.updates, values)
        if self._metrics is None:
            self._metrics = Metrics(self.folder, self.episodes - 1)
        rate = (self.steps - self._first) / max(time.monotonic() - self._started, 1e-9)
        self._metrics.write(self.episodes, {"env_steps": self.steps, "updates": self.updates, "samples_per_s": rate, **values})

    def export(self) -> Path:
        """The policy as a bundle in a folder of its own, bundles/step_<steps>; actors take it up between episodes."""
        folder = self.folder / BUNDLES / f"step_{self.steps:09d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        c = self.config
        write_policy(
            folder, self.learner.policy(), name=c.name, algorithm=c.learner.algorithm, action_space=self.space.name,
            action_space_hash=self.space.hash, control_period=self.control_period,
            config=c.model_dump(mode="json") | {"acting": self.acting},
            lineage={
                "journal": self.position, "episodes": self.episodes, "env_steps": self.steps, "updates": self.updates, "seed": c.seed,
                "reward": c.reward, "reward_model": self.replay.model_id, "base_hash": self.replay.base_hash or "",
            },
        )
        for old in checkpoints(folder.parent)[: -c.keep_bundles]:
            shutil.rmtree(old)
        return folder

    def close(self) -> None:
        """Closes the metrics; the trainer may go on afterwards."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ctrl-C stops the loop inside, and a checkpoint then holds where it was; an error leaves the last one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self.config.model_dump(mode="json"), indent=2), encoding="utf-8")
        try:
            with interrupt(self.stop):
                yield
            self.save()
        finally:
            self.close()

    def follow(
        self, poll: float = 0.5, progress: ProgressCallback | None = None, between: Callable[[], Any] = lambda: None
    ) -> TrainResult:
        """The trainer as a process of its own: exports its first bundle, then looks every `poll` seconds for commits and exports after
        each look that found some, until `config.steps` or `stop`. `between` is called before each look."""
        with self.running():
            bundle = self.export()
            while not self.finished and not self.stopped:
                between()
                if self.advance():
                    bundle = self.export()
                    if progress:
                        progress(self.steps, self.config.steps, {})
                else:
                    self._stop.wait(poll)
        return self.result(bundle)

    def result(self, bundle: Path) -> TrainResult:
        from apprentice_core.bundle import bundle_id, read_manifest

        wall = time.monotonic() - self._started
        return TrainResult(self.steps, wall, self.stopped, {}, bundle, bundle_id(read_manifest(bundle)))


def _chained(seen: str, episode_id: str) -> str:
    """A hash over the ids in their order."""
    return hashlib.sha256(f"{seen}{episode_id}".encode()).hexdigest()[:16]
