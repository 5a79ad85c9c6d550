"""What a learner gets: one batch of transitions, or of sequences, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor

TensorObservation = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """B transitions. Images uint8 [B, H, W, 3], all else float32.

    `discount` [B] is 0 where the step ended in a true terminal and 1 elsewhere, time-outs included (spec 001b section 0);
    the learner multiplies it by its gamma. `next_observation` is empty for learners that do not read it.
    """

    observation: TensorObservation
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_observation: TensorObservation = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.action)

    def to(self, device: torch.device) -> Self:
        """On the CPU the batch itself; elsewhere a copy, under way while the CPU goes on."""
        if device.type == "cpu":
            return self
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return type(self)(**{
            k: {n: _sent(t, device) for n, t in v.items()} if isinstance(v, dict) else _sent(v, device) for k, v in values.items()
        })


@dataclass(frozen=True, kw_only=True)
class MixedBatch(Batch):
    """Replayed transitions, then prior ones (demonstrations, or data of an earlier run): `prior` [B], float32, is 1 at the latter."""

    prior: Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceBatch(Batch):
    """B sequences of successive steps, time first (spec 000 section 2.10): observations [L, B, ...], all else [L - 1, B, ...].

    `valid` [L - 1, B] is false behind the episode's end, where the last observation is repeated, and at a step without a reward.
    Nothing there may be learned from or looked through: the rewards are 0.
    """

    valid: Tensor

    def __len__(self) -> int:
        return self.action.shape[1]


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)
