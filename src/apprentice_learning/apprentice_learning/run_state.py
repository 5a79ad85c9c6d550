"""What every training loop shares: where its numbers go, how its state is kept, how it is stopped."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apprentice_learning.algorithms.learner import Learner
from apprentice_learning.networks.observation import ObservationEncoder

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


class Means:
    """Running means of what updates report; nothing is read from the device before `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self, prefix: str = "train/") -> dict[str, float]:
        """Means since the last call, by name; a delayed update's metrics count where they were reported."""
        out = {f"{prefix}{k}": float(v) / self._counts[k] for k, v in self._sums.items()}
        self._sums, self._counts = {}, {}
        return out


def check_finite(step: int, values: Mapping[str, float]) -> None:
    """FloatingPointError when a metric is not."""
    if not all(np.isfinite(v) for v in values.values()):
        raise FloatingPointError(f"step {step}: a loss is not finite: {dict(values)}")


def fit_normalisers(learner: Learner, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives every network of the learner that reads observations itself the statistics of rows [N, ...] of its vectors."""
    for network in learner.modules.values():
        for module in network.modules():
            if isinstance(module, ObservationEncoder):
                module.fit_normaliser(arrays)


def state_tensors(learner: Learner, device: torch.device) -> dict[str, Tensor]:
    """The learner and torch's random state, as a checkpoint holds them."""
    tensors = {LEARNER + k: v for k, v in learner.state_dict().items()} | {RNG: torch.get_rng_state()}
    if device.type == "cuda":
        tensors[CUDA_RNG] = torch.cuda.get_rng_state(device)
    return tensors


def restore_learner(tensors: Mapping[str, Tensor], learner: Learner) -> None:
    """The learner alone, from what `state_tensors` gave; ValueError or RuntimeError when it does not fit."""
    learner.load_state_dict({k[len(LEARNER) :]: v for k, v in tensors.items() if k.startswith(LEARNER)})


def restore_state(tensors: Mapping[str, Tensor], learner: Learner, device: torch.device) -> None:
    """The inverse of `state_tensors`."""
    restore_learner(tensors, learner)
    torch.set_rng_state(tensors[RNG])
    if device.type == "cuda" and CUDA_RNG in tensors:
        torch.cuda.set_rng_state(tensors[CUDA_RNG], device)


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
