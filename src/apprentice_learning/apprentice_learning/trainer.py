"""The training loop: batches in, checkpoints, metrics and a bundle out. Deterministic by seed, resumable to the bit."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import torch

from apprentice_core.errors import ApprenticeError
from apprentice_learning.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from apprentice_learning.config import TrainConfig, make_device, make_learner, make_sampler
from apprentice_learning.data.columns import Columns, observation_specs
from apprentice_learning.data.prefetch import Prefetcher
from apprentice_learning.data.view import View
from apprentice_learning.run_state import (
    Means,
    Metrics,
    ProgressCallback,
    TrainResult,
    check_finite,
    fit_normalisers,
    interrupt,
    restore_state,
    state_tensors,
)


class Trainer:
    """Owns learner, view, sampler and the random state of one run in `folder`.

    The random state is torch's global generator (logit noise, dropout) and the sampler's; both are seeded from
    `config.seed` and kept in checkpoints. For a GPU the next batch is gathered on a thread.
    """

    def __init__(self, config: TrainConfig, columns: Columns, folder: Path):
        torch.set_num_threads(config.threads)
        self.config, self.folder, self.device = config, folder, make_device(config)
        torch.manual_seed(config.seed)
        self.view = View(columns, config.view, config.seed)
        self.learner = make_learner(config, observation_specs(columns), self.view.action.shape[1])
        self.learner.set_phase(config.phase)
        for module in self.learner.modules.values():
            module.to(self.device)
        # Two, because batches of held-out rows must not share arrays with one that is being made ahead.
        self.sampler, self._held_out = (make_sampler(config, self.view, self.learner) for _ in range(2))
        self.step = 0
        self._fit_normaliser(columns)
        self._stop = threading.Event()
        self._ahead: Prefetcher | None = None

    def _fit_normaliser(self, columns: Columns) -> None:
        vectors = self.config.network.vectors
        if not vectors:
            return
        rows = np.concatenate([s.train for s in self.view.splits.values()])
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), self.config.normaliser_rows)).astype(np.int64)]
        fit_normalisers(self.learner, {v.array: columns.columns[v.array][rows] for v in vectors})

    def save(self) -> Path:
        tensors = state_tensors(self.learner, self.device)
        facts = {"config_hash": self.config.hash, "sampler": (self._ahead or self.sampler).state}
        return save_checkpoint(self.folder / "checkpoints", self.step, tensors, facts, self.config.keep_checkpoints)

    def resume(self) -> bool:
        """Goes on from the newest checkpoint; False when there is none, ApprenticeError when it is of another config."""
        found = checkpoints(self.folder / "checkpoints")
        if not found:
            return False
        tensors, facts = load_checkpoint(found[-1])
        if facts["config_hash"] != self.config.hash:
            raise ApprenticeError(f"{found[-1]}: belongs to another config; use a new folder or train afresh")
        restore_state(tensors, self.learner, self.device)
        self.sampler.state = facts["sampler"]
        self.step = int(facts["step"])
        return True

    def stop(self) -> None:
        """Asks the loop to end after the current update; safe from a signal handler or another thread."""
        self._stop.set()

    def validate(self) -> dict[str, float]:
        """Means over held-out rows, named validation/<metric>; empty when nothing is held out. Draws no random number."""
        sums: dict[str, float] = {}
        total = 0
        for batch in self._held_out.validation(self.config.validation_rows):
            n = len(batch)
            total += n
            for name, value in self.learner.validate(batch.to(self.device)).items():
                sums[name] = sums.get(name, 0.0) + float(value) * n
        return {f"validation/{k}": v / total for k, v in sums.items()}

    def run(self, progress: ProgressCallback | None = None) -> TrainResult:
        """Trains to `config.steps`; a final checkpoint is written in every case. FloatingPointError when a loss is not finite."""
        config, start, first = self.config, time.monotonic(), self.step
        metrics = Metrics(self.folder, self.step)
        means, newest = Means(), dict[str, float]()
        if self.device.type != "cpu":
            self._ahead = Prefetcher(self.sampler, lambda batch: batch.to(self.device))
        try:
            with interrupt(self.stop):
                while self.step < config.steps and not self._stop.is_set():
                    values = self.learner.update(self._ahead.next() if self._ahead else self.sampler.sample())
                    self.step += 1
                    means.add(values)
                    if self.step % config.log_every == 0 or self.step == config.steps:
                        newest |= means.take()
                        newest["updates_per_s"] = (self.step - first) / (time.monotonic() - start)
                        check_finite(self.step, newest)
                        if self.step % config.validate_every < config.log_every or self.step == config.steps:
                            newest |= self.validate()
                        metrics.write(self.step, newest)
                    if progress:
                        progress(self.step, config.steps, newest)
                    if self.step % config.checkpoint_every == 0 and self.step < config.steps:
                        self.save()
            self.save()
        finally:
            if self._ahead:
                self._ahead.close()
                self._ahead = None
            metrics.close()
        return TrainResult(self.step, time.monotonic() - start, self._stop.is_set(), newest)
