"""What a learner gets: one batch of transitions as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

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
