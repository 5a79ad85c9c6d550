"""Training of one member of a reward model: deterministic by seed, resumable to the bit, stopped by Ctrl-C with a checkpoint."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apprentice_core.errors import ApprenticeError
from apprentice_learning.algorithms.learner import adam, pack, unpack
from apprentice_learning.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from apprentice_learning.rewards.bundles import read_reward
from apprentice_learning.rewards.config import RewardTrainConfig
from apprentice_learning.rewards.metrics import Counts
from apprentice_learning.rewards.reward_network import RewardNetwork
from apprentice_learning.rewards.sketch_data import SketchBatch, SketchedColumns, SketchSampler
from apprentice_learning.rewards.sketch_loss import sketch_loss
from apprentice_learning.run_state import Metrics, ProgressCallback, interrupt

LEARNER, BEST, RNG = "learner.", "best.", "torch_rng"
NORMALISER_ROWS = 20_000
"""ours: at most so many training frames give mean and spread of proprioception"""


@dataclass
class MemberResult:
    """`best` are the metrics of the kept weights, those of `best_step`; `early` says that training ended before its last step."""

    steps: int
    best_step: int
    stopped: bool
    early: bool
    wall_s: float
    best: dict[str, float] = field(default_factory=dict)


class RewardTrainer:
    """Member `member` of the ensemble, in `folder`. All members share the split; each has weights and batches of its own."""

    def __init__(self, config: RewardTrainConfig, data: SketchedColumns, folder: Path, member: int = 0, device: str = "cpu"):
        torch.set_num_threads(1)
        self.config, self.data, self.folder, self.device = config, data, folder, torch.device(device)
        seed = config.seed + 1000 * member
        torch.manual_seed(seed)
        self.network = RewardNetwork(data.specs, config.network())
        self.sampler = SketchSampler(data, self.network.inputs, config, seed)
        self._fit_normaliser()
        # Weights stay in plain memory order: fused Adam walks weights and moments side by side, and a checkpoint restores plain moments.
        self.network.to(self.device)
        self.optimiser = adam(self.network.parameters(), config.learning_rate)
        self.step = self.best_step = self.stale = 0
        self.best: dict[str, float] = {}
        self.best_weights = self._weights()
        self.member = member
        self._stop = threading.Event()

    @property
    def config_hash(self) -> str:
        """Of all that decides the numbers; `steps` may grow between runs, logging and checkpoints do not matter."""
        free = {"steps", "log_every", "checkpoint_every", "keep_checkpoints", "name", "members"}
        fields = self.config.model_dump(mode="json", exclude=free)
        ids = [s.sequence_id for s in self.data.sketches.sketches]
        return hashlib.sha256(json.dumps([fields, self.member, ids, self.data.manifest], sort_keys=True).encode()).hexdigest()[:16]

    def _fit_normaliser(self) -> None:
        columns, vectors = self.data.columns.columns, self.network.encoder.vectors
        rows = np.unique(np.concatenate([c.rows for c in self.sampler.train]))
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), NORMALISER_ROWS)).astype(np.int64)]
        self.network.encoder.fit_normaliser({v.array: columns[v.array][rows] for v in vectors})

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def _forward(self, batch: SketchBatch) -> tuple[Tensor, Tensor]:
        """(reward, sketch), both [E, F], on the device."""
        observation = {k: v.to(self.device, non_blocking=True) for k, v in batch.observation.items()}
        return self.network(observation).view(batch.sketch.shape), batch.sketch.to(self.device)

    def loss(self, batch: SketchBatch) -> dict[str, Tensor]:
        """`loss` with its parts: the sketch loss, or the squared error where the config asks for regression."""
        reward, sketch = self._forward(batch)
        if self.config.loss == "regression":
            return {"loss": (reward - sketch).square().mean()}
        total, rank, success = sketch_loss(reward, sketch, self.config.margins)
        return {"loss": total, "rank_loss": rank, "success_loss": success}

    def update(self) -> dict[str, Tensor]:
        self.network.train()
        parts = self.loss(self.sampler.sample())
        self.optimiser.zero_grad(set_to_none=True)
        parts["loss"].backward()
        self.optimiser.step()
        self.step += 1
        return {k: v.detach() for k, v in parts.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and metrics over the held-out episodes, as validation/<name>; empty when none is held out. Draws no random number."""
        self.network.eval()
        counts, losses = Counts(), []
        for batch in self.sampler.held_out():
            losses.append(float(self.loss(batch)["loss"]))
            reward, sketch = self._forward(batch)
            counts.add(reward[0].cpu().numpy(), sketch[0].cpu().numpy(), self.config.margins, self.config.threshold)
        return {f"validation/{k}": v for k, v in {"loss": float(np.mean(losses)), **counts.as_dict()}.items()} if losses else {}

    @torch.no_grad()
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """What the present weights say of rows of the columns; float32 [N]."""
        self.network.eval()
        observation = self.sampler.observation(rows, augment=False)
        return self.network({k: v.to(self.device) for k, v in observation.items()}).cpu().numpy()

    def _keep_best(self, metrics: dict[str, float]) -> None:
        def rank(m: dict[str, float]) -> tuple[float, float]:
            return m.get("validation/pair_accuracy", 0.0), -m.get("validation/loss", np.inf)

        if not self.best or rank(metrics)[0] > rank(self.best)[0]:
            self.stale = 0
        else:
            self.stale += 1
        if not self.best or rank(metrics) > rank(self.best):
            self.best, self.best_step, self.best_weights = metrics, self.step, self._weights()

    @property
    def exhausted(self) -> bool:
        """Pair accuracy has not risen for `patience` validations."""
        return bool(self.config.patience) and self.stale >= self.config.patience

    def stop(self) -> None:
        """Asks the loop to end after the current update; safe from a signal handler or another thread."""
        self._stop.set()

    def save(self) -> Path:
        learner = pack({"reward": self.network}, {"reward": self.optimiser}, self.step)
        tensors = {LEARNER + k: v for k, v in learner.items()} | {BEST + k: v for k, v in self.best_weights.items()}
        facts = {
            "config_hash": self.config_hash, "sampler": self.sampler.generator.bit_generator.state, "best": self.best,
            "best_step": self.best_step, "stale": self.stale,
        }
        return save_checkpoint(
            self.folder / "checkpoints", self.step, tensors | {RNG: torch.get_rng_state()}, facts, self.config.keep_checkpoints
        )

    def initialise(self, bundle: Path) -> None:
        """Starts from this member's weights in a reward bundle; ApprenticeError when its network is another."""
        _, members, model_id = read_reward(bundle)
        try:
            self.network.load_state_dict(members[self.member].state_dict())
        except (RuntimeError, IndexError) as error:
            raise ApprenticeError(f"reward model {model_id} is of another network: {' '.join(str(error).split())[:200]}") from error
        self.best_weights = self._weights()

    def resume(self) -> bool:
        """Goes on from the newest checkpoint; False when there is none, ApprenticeError when it is of another config or other sketches."""
        found = checkpoints(self.folder / "checkpoints")
        if not found:
            return False
        tensors, facts = load_checkpoint(found[-1])
        if facts["config_hash"] != self.config_hash:
            raise ApprenticeError(f"{found[-1]}: belongs to another config or to other sketches; use a new folder or train afresh")
        state = {k[len(LEARNER) :]: v for k, v in tensors.items() if k.startswith(LEARNER)}
        self.step = unpack(state, {"reward": self.network}, {"reward": self.optimiser})
        self.best_weights = {k[len(BEST) :]: v for k, v in tensors.items() if k.startswith(BEST)}
        self.best, self.best_step, self.stale = facts["best"], int(facts["best_step"]), int(facts["stale"])
        self.sampler.generator.bit_generator.state = facts["sampler"]
        torch.set_rng_state(tensors[RNG])
        return True

    def run(self, progress: ProgressCallback | None = None) -> MemberResult:
        """Trains to `config.steps` or until pair accuracy stalls; a checkpoint is written in every case. FloatingPointError when a loss
        is not finite. Where nothing is held out the last weights count as the best."""
        config, start = self.config, time.monotonic()
        metrics = Metrics(self.folder, self.step)
        sums: dict[str, Tensor] = {}
        newest: dict[str, float] = dict(self.best)
        counted = 0
        try:
            with interrupt(self.stop):
                while self.step < config.steps and not self._stop.is_set() and not self.exhausted:
                    for name, value in self.update().items():
                        sums[name] = sums[name] + value if name in sums else value
                    counted += 1
                    last = self.step == config.steps
                    logs, validates = self.step % config.log_every == 0 or last, self.step % config.validate_every == 0 or last
                    if logs:
                        newest |= {f"train/{k}": float(v) / counted for k, v in sums.items()}
                        sums, counted = {}, 0
                        if not all(np.isfinite(v) for v in newest.values()):
                            raise FloatingPointError(f"step {self.step}: a loss is not finite: {newest}")
                    if validates and (found := self.validate()):
                        self._keep_best(found)
                        newest |= found
                    if logs or validates:
                        metrics.write(self.step, newest)
                    if progress:
                        progress(self.step, config.steps, newest)
                    if self.step % config.checkpoint_every == 0 and not last:
                        self.save()
            if not self.best:
                self.best_weights, self.best_step = self._weights(), self.step
            self.save()
        finally:
            metrics.close()
        early = self.exhausted and self.step < config.steps
        return MemberResult(self.step, self.best_step, self._stop.is_set(), early, time.monotonic() - start, self.best)

    def best_network(self) -> RewardNetwork:
        """The weights of the best validation, in evaluation mode, on the CPU."""
        network = RewardNetwork(self.data.specs, self.network.config)  # its first random weights are overwritten at once
        network.load_state_dict(self.best_weights)
        return network.eval()
