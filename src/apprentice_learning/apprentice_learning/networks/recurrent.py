"""Layer-normalised LSTMs (spec 000 section 2.9): whole sequences for training, single steps for acting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State: TypeAlias = tuple[Tensor, ...]
"""(h, c) of the first layer, (h, c) of the second, ...: each [..., units]"""


class LayerNormLSTMCell(nn.Module):
    """gates = LN(W x) + LN(U h) + b, c' = f c + i g, h' = o tanh(LN(c')); b of the forget gate starts at 1 (ours).

    The projection of the input is a call of its own, so that a sequence is projected in one product.
    """

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.units = units
        self.input = nn.Linear(inputs, 4 * units, bias=False)
        self.input_norm = nn.LayerNorm(4 * units)  # its bias is b
        self.recurrent = nn.Linear(units, 4 * units, bias=False)
        self.recurrent_norm = nn.LayerNorm(4 * units, bias=False)
        self.cell_norm = nn.LayerNorm(units)
        for gate in self.recurrent.weight.data.chunk(4):
            nn.init.orthogonal_(gate)
        self.input_norm.bias.data[units : 2 * units] = 1.0  # gates in memory: input, forget, output, candidate

    def project(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., 4 units]"""
        return self.input_norm(self.input(x))

    def forward(self, projected: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step on a projected input: [B, 4 units] and state [B, units] -> the next (h, c)."""
        gates = self.recurrent_norm(self.recurrent(h)) + projected
        i, f, o = torch.sigmoid(gates[..., : 3 * self.units]).chunk(3, dim=-1)
        c = torch.addcmul(f * c, i, torch.tanh(gates[..., 3 * self.units :]))
        return o * torch.tanh(self.cell_norm(c)), c


class LayerNormLSTM(nn.Module):
    """A stack of layer-normalised LSTMs; paper: two of 256."""

    def __init__(self, inputs: int, units: Sequence[int]):
        super().__init__()
        if not units:
            raise ValueError("a recurrent network needs at least one layer")
        self.units = tuple(units)
        self.cells = nn.ModuleList(LayerNormLSTMCell(a, b) for a, b in pairwise((inputs, *units)))

    def initial_state(self, batch: int) -> State:
        """Zeros (spec 000 section 2.10)."""
        like = self.cells[0].cell_norm.weight
        return tuple(like.new_zeros((batch, u)) for u in self.units for _ in "hc")

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """[T, B, inputs] -> output [T, B, units] and the state after each step, every tensor of it [T, B, units]."""
        state = self.initial_state(x.shape[1]) if state is None else state
        after: list[Tensor] = []
        for k, cell in enumerate(self.cells):
            h, c = state[2 * k], state[2 * k + 1]
            hs, cs = [], []
            for projected in cell.project(x).unbind(0):
                h, c = cell(projected, h, c)
                hs.append(h)
                cs.append(c)
            x = torch.stack(hs)
            after += [x, torch.stack(cs)]
        return x, tuple(after)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step from `state`: [B, inputs] -> [B, units] and the next state."""
        after: list[Tensor] = []
        for k, cell in enumerate(self.cells):
            x, c = cell(cell.project(x), state[2 * k], state[2 * k + 1])
            after += [x, c]
        return x, tuple(after)


def states_before(after: State) -> State:
    """The state before each step of a sequence that began at zero, from the states after each: [T, B, units] -> the same shape."""
    return tuple(F.pad(s[:-1], (0, 0, 0, 0, 1, 0)) for s in after)
