"""Updates per second of recurrent D4PG at full size, loading included, against its passes written plainly in PyTorch on the same batch.

The passes are online forward and backward of encoder, actor and critic, and the target networks' forward; no loss, no optimiser, no
loading. Two sequences of 10 steps on one thread. Beside it: the same update with bfloat16 convolutions, and compiled.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import BenchResult, Measure, say, seconds, turns
from benchmarks.sampler import record

SEQUENCES, STEPS = 2, 10
PRESET = "d4pg"


class PlainBlock(nn.Module):
    """Pre-activation residual block, as one writes it."""

    def __init__(self, a: int, b: int, stride: int):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(8, a), nn.GroupNorm(8, b)
        self.c1, self.c2 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(a, b, 1, stride, bias=False) if stride > 1 or a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.c2(F.relu(self.n2(self.c1(F.relu(self.n1(x))))))


class PlainEncoder(nn.Module):
    """The ResNet and spatial softmax of spec 000 section 8."""

    def __init__(self) -> None:
        super().__init__()
        shapes = ((32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1), (64, 64, 1))
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), *(PlainBlock(*s) for s in shapes), nn.GroupNorm(8, 64), nn.ReLU(), nn.Conv2d(64, 64, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        maps = self.body(image.permute(0, 3, 1, 2).float() / 255 - 0.5)
        p = (maps + torch.empty_like(maps).uniform_(-0.1, 0.1)).flatten(2).softmax(-1).view_as(maps)
        x, y = torch.linspace(-1, 1, maps.shape[3]), torch.linspace(-1, 1, maps.shape[2])
        return torch.cat(((p.sum(2) * x).sum(-1), (p.sum(3) * y).sum(-1)), -1)


class PlainLSTM(nn.Module):
    """Two layer-normalised LSTMs, step by step."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        sizes = (inputs, units)
        self.units = units
        self.wx = nn.ModuleList(nn.Linear(n, 4 * units, bias=False) for n in sizes)
        self.wh = nn.ModuleList(nn.Linear(units, 4 * units, bias=False) for _ in sizes)
        self.nx, self.nh = (nn.ModuleList(nn.LayerNorm(4 * units) for _ in sizes) for _ in "xh")
        self.nc = nn.ModuleList(nn.LayerNorm(units) for _ in sizes)

    def step(self, x: Tensor, state: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        after = []
        for k, (h, c) in enumerate(state):
            i, f, o, g = (self.nx[k](self.wx[k](x)) + self.nh[k](self.wh[k](h))).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            x = o.sigmoid() * self.nc[k](c).tanh()
            after.append((x, c))
        return x, after

    def forward(self, x: Tensor) -> tuple[Tensor, list[list[tuple[Tensor, Tensor]]]]:
        state = [(x.new_zeros(x.shape[1], self.units), x.new_zeros(x.shape[1], self.units)) for _ in self.wx]
        out, states = [], []
        for row in x:
            states.append(state)
            y, state = self.step(row, state)
            out.append(y)
        return torch.stack(out), states


class PlainAgent(nn.Module):
    """Encoders, actor and critic."""

    def __init__(self, cameras: list[str], vectors: int, actions: int):
        super().__init__()
        self.names = cameras
        self.encoders = nn.ModuleList(PlainEncoder() for _ in cameras)
        self.branch = nn.Sequential(nn.Linear(vectors, 64), nn.LayerNorm(64), nn.Tanh())
        size = 128 * len(cameras) + 64
        self.actor, self.actor_head = PlainLSTM(size, 256), nn.Linear(256, actions)
        self.fx, self.fa, self.mix = nn.Linear(size, 256), nn.Linear(actions, 256), nn.Linear(512, 256)
        self.critic, self.critic_head = PlainLSTM(256, 256), nn.Linear(256, 101)

    def features(self, frames: dict[str, Tensor], vectors: Tensor) -> Tensor:
        t, b = vectors.shape[:2]
        seen = [e(frames[n].flatten(0, 1)).view(t, b, -1) for n, e in zip(self.names, self.encoders, strict=True)]
        return torch.cat((*seen, self.branch(vectors)), -1)

    def join(self, x: Tensor, a: Tensor) -> Tensor:
        return F.relu(self.mix(torch.cat((self.fx(x), self.fa(a)), -1)))

    def passes(self, frames: dict[str, Tensor], vectors: Tensor, logged: Tensor) -> tuple[Tensor, Tensor]:
        """(critic's output on logged actions, on the actor's in one step from the same states)."""
        x = self.features(frames, vectors)
        y, states = self.critic(self.join(x, logged))
        x = x.detach()
        action = self.actor_head(self.actor(x)[0]).tanh()
        joined = [tuple(torch.cat([s[k][i] for s in states]).detach() for i in (0, 1)) for k in (0, 1)]
        z, _ = self.critic.step(self.join(x, action).flatten(0, 1), joined)  # type: ignore[arg-type]
        return self.critic_head(y), self.critic_head(z)


def run(quick: bool = False) -> BenchResult:
    from apprentice_learning.algorithms.d4pg import D4PG
    from apprentice_learning.config import load_train_config
    from apprentice_learning.data.columns import observation_specs
    from apprentice_learning.data.sequences import SequenceSampler
    from apprentice_learning.data.store_columns import StoreColumns
    from apprentice_learning.data.view import DataSource, View, ViewConfig
    from apprentice_store.store import Store

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = load_train_config(PRESET)
    settings = config.learner.settings.model_copy(update={"sequence": STEPS})
    network = config.network.model_copy(update={"precision": "float32"})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        say("recording episodes of the lift cell into bags")
        record(folder, 3)
        with Store(folder) as store:
            columns = StoreColumns.open(store, "kind = 'episode'", (*network.cameras, *network.proprio))
        view = View(columns, ViewConfig(sources=(DataSource(name="all"),), validation=0.0), seed=0)

        def ours(precision: str, compiled: bool = False) -> D4PG:
            return D4PG(
                observation_specs(columns), view.action.shape[1], network.model_copy(update={"precision": precision}),
                settings.model_copy(update={"compile": compiled}),
            )

        sampler = SequenceSampler(view, ours("float32").actor.inputs, SEQUENCES, 0, STEPS + settings.n_step)
        batch = sampler.sample()
        frames = {n: batch.observation[n].clone() for n in network.cameras}
        vectors = torch.cat([batch.observation[n] for n in network.proprio], -1)
        plain, target = (PlainAgent(list(network.cameras), vectors.shape[-1], view.action.shape[1]) for _ in "12")

        def passes() -> float:
            def once() -> None:
                now = {n: v[:STEPS] for n, v in frames.items()}
                logged, value = plain.passes(now, vectors[:STEPS], batch.action[:STEPS])
                plain.zero_grad()
                (logged.mean() - value.mean()).backward()
                with torch.no_grad():
                    target.passes(frames, vectors, torch.cat((batch.action, batch.action[-1:])))

            return 1.0 / seconds(once)

        def updates(learner: D4PG) -> float:
            return 1.0 / seconds(lambda: learner.update(sampler.sample()))

        learners = {"update": ours("float32"), "update_bfloat16": ours("bfloat16")}
        if not quick:
            learners["update_compiled"] = ours("float32", compiled=True)
            say("compiling the encoders, some minutes")
        sides = {"passes": passes} | {name: lambda it=it: updates(it) for name, it in learners.items()}
        for side in sides.values():
            side()
        rate = turns(sides, 3 if quick else 7)
        load = turns({"load": lambda: seconds(sampler.sample)}, 9)["load"]
    return BenchResult(
        bench="d4pg",
        ratio=rate["update"] / rate["passes"],
        target=0.8,
        reference=f"the same passes in plain PyTorch, {SEQUENCES} sequences of {STEPS}, two cameras, float32, one thread, same run",
        measures={f"{k}_rate": Measure(round(v, 4), "1/s") for k, v in rate.items()}
        | {f"{k}_gain": Measure(round(rate[k] / rate["update"], 3), "") for k in rate if k not in ("update", "passes")}
        | {"loading": Measure(round(1e3 * load, 2), "ms")},
    )
