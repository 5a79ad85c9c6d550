"""Training on arrays in memory: deterministic by seed, resumable to the bit from checkpoints (C20)."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apprentice_core.config import Strict
from apprentice_core.errors import ApprenticeError
from apprentice_learning.algorithms.learner import pack, unpack
from apprentice_learning.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from apprentice_learning.representations.dataset import TrainingSet
from apprentice_learning.run_state import LEARNER, RNG, Metrics, ProgressCallback, interrupt

KEEP = 2


class ArrayTrainer(ABC):
    """What reward model, localiser, offline RL and fine-tuning share. A subclass sets `modules` and `optimisers` and gives `update`.

    The random state is `generator` (rows, augmentation) and torch's global one (sampled latents, dropout); `loose` names fields of the
    config that do not decide the numbers.
    """

    modules: Mapping[str, torch.nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    loose: frozenset[str] = frozenset({"steps", "checkpoint_every", "log_every"})

    def __init__(self, config: Strict, training: TrainingSet, seed: int, device: str = "cpu"):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.settings, self.training, self.device = config, training, torch.device(device)
        self.generator = np.random.default_rng([seed, 5])
        self.step = 0
        self._stop = False

    @abstractmethod
    def update(self) -> dict[str, Tensor]:
        """One step of the optimisers; metrics."""

    def state(self) -> dict[str, Tensor]:
        return pack(self.modules, self.optimisers, self.step)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.step = unpack(state, self.modules, self.optimisers)

    @property
    def config_hash(self) -> str:
        """Of all that decides the numbers: settings, training connectors and the data's labels."""
        fields = self.settings.model_dump(mode="json", exclude=set(self.loose))
        t = self.training
        data = hashlib.sha256(t.rows.tobytes() + t.data.success.tobytes() + np.ascontiguousarray(t.data.action).tobytes()).hexdigest()
        return hashlib.sha256(json.dumps([type(self).__name__, fields, t.connectors, data], sort_keys=True).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> Path:
        tensors = {LEARNER + k: v for k, v in self.state().items()} | {RNG: torch.get_rng_state()}
        return save_checkpoint(folder / "checkpoints", self.step, tensors, self.facts(), KEEP)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors."""
        return {"config_hash": self.config_hash, "generator": self.generator.bit_generator.state}

    def resume(self, folder: Path) -> bool:
        """Goes on from the newest checkpoint; False when there is none, ApprenticeError when it is of another config or other data."""
        found = checkpoints(folder / "checkpoints")
        if not found:
            return False
        tensors, facts = load_checkpoint(found[-1])
        if facts["config_hash"] != self.config_hash:
            raise ApprenticeError(f"{found[-1]}: belongs to another config or to other data; use a new folder or train afresh")
        self.restore({k[len(LEARNER) :]: v for k, v in tensors.items() if k.startswith(LEARNER)}, facts)
        torch.set_rng_state(tensors[RNG])
        return True

    def restore(self, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.load_state(state)
        self.generator.bit_generator.state = facts["generator"]

    def stop(self) -> None:
        """Asks `run` to end after the current update."""
        self._stop = True

    def run(
        self, steps: int, folder: Path | None = None, checkpoint_every: int = 1000, log_every: int = 100,
        progress: ProgressCallback | None = None,
    ) -> dict[str, float]:
        """Updates until `step` is `steps` or someone stops it (Ctrl-C with a folder). With a folder, checkpoints and metrics go there; a
        last checkpoint in every case. Returns the means since the last log. FloatingPointError when a metric is not finite."""
        metrics = Metrics(folder, self.step) if folder else None
        sums: dict[str, list[Tensor]] = {}
        newest: dict[str, float] = {}
        self._stop = False
        try:
            with interrupt(self.stop):
                while self.step < steps and not self._stop:
                    for name, value in self.update().items():
                        sums.setdefault(name, []).append(value)
                    if self.step % log_every == 0 or self.step == steps:
                        newest = {k: float(torch.stack(v).float().mean()) for k, v in sums.items()}
                        sums = {}
                        if not all(np.isfinite(v) for v in newest.values()):
                            raise FloatingPointError(f"step {self.step}: a metric is not finite: {newest}")
                        if metrics:
                            metrics.write(self.step, newest)
                    if progress:
                        progress(self.step, steps, newest)
                    if folder and self.step % checkpoint_every == 0 and self.step < steps:
                        self.save(folder)
            if folder:
                self.save(folder)
        finally:
            if metrics:
                metrics.close()
        return newest
