"""The training loop: batches in, checkpoints, metrics and a bundle out. Deterministic by seed, resumable to the bit."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice_core.errors import ApprenticeError
from apprentice_learning.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from apprentice_learning.config import TrainConfig, make_device, make_learner, make_sampler
from apprentice_learning.data.columns import Columns, observation_specs
from apprentice_learning.data.view import View

LEARNER, RNG, CUDA_RNG = "learner.", "torch_rng", "cuda_rng"

ProgressCallback = Callable[[int, int, dict[str, float]], None]
"""(step, steps, newest metrics)"""


@dataclass
class TrainResult:
    """`stopped` is true when Ctrl-C ended the run early; a checkpoint then holds where it was."""

    steps: int
    wall_s: float
    stopped: bool
    metrics: dict[str, float] = field(default_factory=dict)
    bundle: Path | None = None
    bundle_id: str = ""


class Metrics:
    """metrics.jsonl and TensorBoard side by side; on resume, lines past the checkpoint are dropped, so that no step is told twice."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = []
        if self.path.exists() and step:
            kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if line and json.loads(line)["step"] <= step]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


class Trainer:
    """Owns learner, view, sampler and the random state of one run in `folder`.

    The random state is torch's global generator (logit noise, dropout) and the sampler's; both are seeded from
    `config.seed` and kept in checkpoints. A GPU works on its own, so there the next batch
    is gathered while it learns from the present one.
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
        self.sampler = make_sampler(config, self.view, self.learner)
        self.step = 0
        self._fit_normaliser(columns)
        self._stop = threading.Event()

    @property
    def config_hash(self) -> str:
        """Of all that decides the numbers; `steps` may grow between runs, logging and checkpoints do not matter."""
        loose = {"steps", "log_every", "checkpoint_every", "keep_checkpoints", "name", "device", "threads"}
        fields = self.config.model_dump(mode="json", exclude=loose)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def _fit_normaliser(self, columns: Columns) -> None:
        branches = [m.encoder.branch for m in _with_encoder(self.learner) if m.encoder.branch is not None]
        if not branches:
            return
        rows = np.concatenate([s.train for s in self.view.splits.values()])
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), self.config.normaliser_rows)).astype(np.int64)]
        values = np.concatenate([columns.columns[n][rows] for n in self.config.network.proprio], axis=1)
        for branch in branches:
            branch.normaliser.fit(values)

    def save(self) -> Path:
        tensors = {LEARNER + k: v for k, v in self.learner.state_dict().items()} | {RNG: torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors[CUDA_RNG] = torch.cuda.get_rng_state(self.device)
        facts = {"config_hash": self.config_hash, "sampler": self.sampler.state}
        return save_checkpoint(self.folder / "checkpoints", self.step, tensors, facts, self.config.keep_checkpoints)

    def resume(self) -> bool:
        """Goes on from the newest checkpoint; False when there is none, ApprenticeError when it is of another config."""
        found = checkpoints(self.folder / "checkpoints")
        if not found:
            return False
        tensors, facts = load_checkpoint(found[-1])
        if facts["config_hash"] != self.config_hash:
            raise ApprenticeError(f"{found[-1]}: belongs to another config; use a new folder or train afresh")
        self.learner.load_state_dict({k[len(LEARNER) :]: v for k, v in tensors.items() if k.startswith(LEARNER)})
        self.sampler.state = facts["sampler"]
        torch.set_rng_state(tensors[RNG])
        if self.device.type == "cuda" and CUDA_RNG in tensors:
            torch.cuda.set_rng_state(tensors[CUDA_RNG], self.device)
        self.step = int(facts["step"])
        return True

    def stop(self) -> None:
        """Asks the loop to end after the current update; safe from a signal handler or another thread."""
        self._stop.set()

    def validate(self) -> dict[str, float]:
        """Means over held-out rows, named validation/<metric>; empty when nothing is held out. Draws no random number."""
        sums: dict[str, float] = {}
        total = 0
        for batch in self.sampler.validation(self.config.validation_rows):
            n = len(batch)
            total += n
            for name, value in self.learner.validate(batch.to(self.device)).items():
                sums[name] = sums.get(name, 0.0) + float(value) * n
        return {f"validation/{k}": v / total for k, v in sums.items()}

    def run(self, progress: ProgressCallback | None = None) -> TrainResult:
        """Trains to `config.steps`; a final checkpoint is written in every case. FloatingPointError when a loss is not finite."""
        config, start, first = self.config, time.monotonic(), self.step
        metrics = Metrics(self.folder, self.step)
        sums: dict[str, torch.Tensor] = {}
        newest: dict[str, float] = {}
        counted = 0
        try:
            with interrupt(self.stop):
                while self.step < config.steps and not self._stop.is_set():
                    values = self.learner.update(self.sampler.sample().to(self.device))
                    self.step += 1
                    counted += 1
                    for name, value in values.items():
                        sums[name] = sums[name] + value if name in sums else value
                    if self.step % config.log_every == 0 or self.step == config.steps:
                        newest |= {f"train/{k}": float(v) / counted for k, v in sums.items()}
                        newest["updates_per_s"] = (self.step - first) / (time.monotonic() - start)
                        sums, counted = {}, 0
                        if not all(np.isfinite(v) for v in newest.values()):
                            raise FloatingPointError(f"step {self.step}: a loss is not finite: {newest}")
                        if self.step % config.validate_every < config.log_every or self.step == config.steps:
                            newest |= self.validate()
                        metrics.write(self.step, newest)
                    if progress:
                        progress(self.step, config.steps, newest)
                    if self.step % config.checkpoint_every == 0 and self.step < config.steps:
                        self.save()
            self.save()
        finally:
            metrics.close()
        return TrainResult(self.step, time.monotonic() - start, self._stop.is_set(), newest)


def _with_encoder(learner: Any) -> list[Any]:
    """The learner's networks that read observations themselves."""
    found = [learner.policy()]
    found += [m for m in (getattr(learner, n, None) for n in ("value", "critic", "target")) if getattr(m, "encoder", None) is not None]
    return found


@contextmanager
def interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the loop at the next update instead of in the middle of one; a second Ctrl-C is an ordinary one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        stop()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
