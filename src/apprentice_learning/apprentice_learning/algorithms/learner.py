"""The learner contract (contract 6) and what all learners share: optimisers, schedules, flat state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from apprentice_learning.networks.policies import FeedForwardPolicy, RecurrentPolicy


@runtime_checkable
class Learner(Protocol):
    """`state_dict` is flat and holds tensors alone (networks, optimisers, counters), so that safetensors can store it.

    `batch` is a Batch, or a SequenceBatch of `sequence` observations where that is not 0. `modules` are all networks, by name.
    """

    name: str
    phases: tuple[str, ...]
    needs_next: bool
    sequence: int
    modules: dict[str, nn.Module]

    def update(self, batch: Any) -> dict[str, Tensor]: ...

    def validate(self, batch: Any) -> dict[str, Tensor]: ...

    def policy(self) -> FeedForwardPolicy | RecurrentPolicy: ...

    def set_phase(self, phase: str) -> None: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


def inputs_of(learner: Learner) -> tuple[str, ...]:
    """Arrays that a batch has to hold: the policy's, and what critics read beyond it."""
    return getattr(learner, "inputs", learner.policy().inputs)


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """Fused Adam: one call for all tensors; on small networks that is several times faster than a loop over them.

    With `weight_decay` it is AdamW.
    """
    params = list(parameters)
    if weight_decay:
        return torch.optim.AdamW(params, lr=learning_rate, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(params, lr=learning_rate, fused=True)


def cosine(step: int, total: int) -> float:
    """Factor on the learning rate that falls from 1 to 0 over `total` steps; 1 when `total` is 0."""
    return 0.5 * (1.0 + math.cos(math.pi * min(step / total, 1.0))) if total else 1.0


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


@torch.no_grad()
def soft_update(target: nn.Module, source: nn.Module, alpha: float) -> None:
    """Theta' <- (1 - alpha) theta' + alpha theta."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), alpha)


def copy_frozen(module: nn.Module) -> nn.Module:
    """A copy that no gradient reaches: a target network."""
    import copy

    frozen = copy.deepcopy(module)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen


def pack(modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
    """Flat state: '<module>.<parameter>', 'optimiser.<name>.<index>.<entry>' and 'step'. Tensors are copies."""
    out = {f"{m}.{k}": v.detach().clone() for m, module in modules.items() for k, v in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, entries in optimiser.state_dict()["state"].items():
            out |= {f"optimiser.{name}.{index}.{k}": torch.as_tensor(v).clone() for k, v in entries.items()}
    out["step"] = torch.tensor(step, dtype=torch.int64)
    return out


def unpack(
    state: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]
) -> int:
    """The inverse of `pack`; returns the step. ValueError names what is missing or left over."""
    expected = {f"{m}.{k}" for m, module in modules.items() for k in module.state_dict()}
    given = {k for k in state if not k.startswith("optimiser.") and k != "step"}
    if expected != given or "step" not in state:
        raise ValueError(f"state does not fit the learner: {sorted(expected ^ given)[:3]}")
    for name, module in modules.items():
        module.load_state_dict({k: state[f"{name}.{k}"] for k in module.state_dict()})
    for name, optimiser in optimisers.items():
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith(f"optimiser.{name}."):
                index, entry = key[len(f"optimiser.{name}.") :].split(".", 1)
                entries.setdefault(int(index), {})[entry] = value.clone()
        full = optimiser.state_dict()
        optimiser.load_state_dict({"state": entries, "param_groups": full["param_groups"]})
    return int(state["step"])
