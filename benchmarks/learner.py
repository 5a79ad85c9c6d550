"""IQL updates per second on vectors: ours, the same update written plainly in PyTorch, and the d3rlpy package, in turn on one thread."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks._peer import PACKAGES, Peer
from benchmarks.common import BenchResult, Measure, seconds, turns

SIZE = {"batch": 256, "observation": 24, "action": 7, "hidden": [256, 256]}


class PlainIQL:
    """The update of spec 001b C.4 with the field's usual idioms: two Q modules, one Adam each, nothing merged or fused."""

    def __init__(self) -> None:
        o, a = SIZE["observation"], SIZE["action"]

        def mlp(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(n_in, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, n_out))

        self.q, self.target = nn.ModuleList(mlp(o + a, 1) for _ in "12"), nn.ModuleList(mlp(o + a, 1) for _ in "12")
        self.target.load_state_dict(self.q.state_dict())
        self.v, self.pi = mlp(o, 1), mlp(o, a)
        self.log_std = nn.Parameter(torch.zeros(a))
        self.optim = [torch.optim.Adam(p, 3e-4) for p in (self.q.parameters(), self.v.parameters(), [*self.pi.parameters(), self.log_std])]

    def update(self, s: torch.Tensor, a: torch.Tensor, r: torch.Tensor, s2: torch.Tensor, discount: torch.Tensor) -> None:
        sa = torch.cat((s, a), -1)
        with torch.no_grad():
            q = torch.minimum(*(t(sa) for t in self.target)).squeeze(-1)
        advantage = q - self.v(s).squeeze(-1)
        v_loss = (torch.where(advantage < 0, 0.3, 0.7) * advantage**2).mean()
        weight = torch.exp(3.0 * advantage.detach()).clamp(max=100.0)
        policy = torch.distributions.Normal(torch.tanh(self.pi(s)), self.log_std.exp())
        pi_loss = -(weight * policy.log_prob(a).sum(-1)).mean()
        with torch.no_grad():
            y = r + 0.99 * discount * self.v(s2).squeeze(-1)
        q_loss = sum(F.mse_loss(q(sa).squeeze(-1), y) for q in self.q)
        for optim, loss in zip(self.optim, (q_loss, v_loss, pi_loss), strict=True):
            optim.zero_grad()
            loss.backward()
            optim.step()
        with torch.no_grad():
            for t, p in zip(self.target.parameters(), self.q.parameters(), strict=True):
                t.lerp_(p, 0.005)


def _batch() -> tuple[torch.Tensor, ...]:
    n = SIZE["batch"]
    uniform = [torch.rand(n, k) * 2 - 1 for k in (SIZE["observation"], SIZE["action"], SIZE["observation"])]
    return uniform[0], uniform[1], torch.rand(n), uniform[2], torch.ones(n)


def run(quick: bool = False) -> BenchResult:
    from apprentice_core.spaces import ArraySpec
    from apprentice_learning.algorithms.iql import IQL, IQLConfig
    from apprentice_learning.data.batch import Batch
    from apprentice_learning.networks.observation import NetworkConfig

    torch.set_num_threads(1)
    torch.manual_seed(0)
    updates, rounds = (40, 3) if quick else (150, 7)
    s, a, r, s2, discount = _batch()
    name = "state"
    network = NetworkConfig(proprio=(name,), proprio_embedding=0, hidden=tuple(SIZE["hidden"]))
    ours = IQL([ArraySpec(name, (SIZE["observation"],))], SIZE["action"], network, IQLConfig())
    batch = Batch(observation={name: s}, action=a, reward=r, next_observation={name: s2}, discount=discount)
    plain = PlainIQL()

    def rate(update) -> float:
        return updates / seconds(lambda: [update() for _ in range(updates)])

    peer = Peer({**SIZE, "algorithm": "iql"})
    try:
        sides = {
            "apprentice": lambda: rate(lambda: ours.update(batch)),
            "pytorch": lambda: rate(lambda: plain.update(s, a, r, s2, discount)),
            "d3rlpy": lambda: peer.rate(updates),
        }
        for side in sides.values():
            side()
        result = turns(sides, rounds)
    finally:
        peer.close()
    return BenchResult(
        bench="learner",
        ratio=result["apprentice"] / result["d3rlpy"],
        target=1.3,
        reference=f"IQL updates per second of {PACKAGES[0]}, batch 256, 2 x 256, one thread, same run",
        measures={f"{k}_updates": Measure(round(v, 2), "1/s") for k, v in result.items()}
        | {"ratio_to_pytorch": Measure(round(result["apprentice"] / result["pytorch"], 3), "")},
    )
