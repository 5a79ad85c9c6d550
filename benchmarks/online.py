"""TD3 and SAC updates per second on vectors: ours, the d3rlpy package's, and the same matrix products alone, in turn on one thread."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks._peer import PACKAGES, Peer
from benchmarks.common import BenchResult, Measure, seconds, turns

SIZES: dict[str, dict[str, Any]] = {
    "td3": {"algorithm": "td3", "batch": 100, "observation": 24, "action": 3, "hidden": [400, 300]},
    "sac": {"algorithm": "sac", "batch": 256, "observation": 24, "action": 3, "hidden": [256, 256]},
}
PRODUCTS = 0.5
"""what the matrix products alone have to make of an update's time, at least"""


def make_ours(size: dict[str, Any]) -> Callable[[], object]:
    """One update of our learner on a batch of the given sizes."""
    from apprentice_core.spaces import ArraySpec
    from apprentice_learning.algorithms.sac import SAC, SACConfig
    from apprentice_learning.algorithms.td3 import TD3, TD3Config
    from apprentice_learning.data.batch import Batch
    from apprentice_learning.networks.observation import NetworkConfig

    n, o, a = size["batch"], size["observation"], size["action"]
    network = NetworkConfig(proprio=("state",), proprio_embedding=0, hidden=tuple(size["hidden"]))
    specs = [ArraySpec("state", (o,))]
    if size["algorithm"] == "td3":
        # d3rlpy starts its policy at once, so ours does too.
        learner: TD3 | SAC = TD3(specs, a, network, TD3Config(critic_only_updates=0))
    else:
        learner = SAC(specs, a, network, SACConfig())
    s, u, s2 = (torch.rand(n, k) * 2 - 1 for k in (o, a, o))
    batch = Batch({"state": s}, u, torch.rand(n), torch.ones(n), {"state": s2})
    return lambda: learner.update(batch)


def make_products(size: dict[str, Any]) -> Callable[[], None]:
    """The matrix products of two updates (the period of TD3's policy), each critic's by itself, without gradients' bookkeeping."""
    n, o, a, hidden = size["batch"], size["observation"], size["action"], size["hidden"]
    outputs = a if size["algorithm"] == "td3" else 2 * a
    policy, critic = (o, *hidden, outputs), (o + a, *hidden, 1)

    def layers(sizes: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(input, weight, gradient of the output) of each layer."""
        return [(torch.rand(n, i), torch.rand(i, j), torch.rand(n, j)) for i, j in pairwise(sizes)]

    actor, critics = layers(policy), [layers(critic), layers(critic)]

    def forward(net: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        for x, w, _ in net:
            torch.mm(x, w)

    def weights(net: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        for x, _, g in net:
            torch.mm(x.T, g)

    def inputs(net: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        for _, w, g in net:
            torch.mm(g, w.T)

    def critic_step() -> None:
        forward(actor)  # the action at s'
        for net in critics:
            forward(net)  # target
            forward(net)
            weights(net)
            inputs(net[1:])

    def policy_step(through: int) -> None:
        forward(actor)
        for net in critics[:through]:
            forward(net)
            inputs(net)
        weights(actor)
        inputs(actor[1:])

    def two() -> None:
        critic_step()
        critic_step()
        if size["algorithm"] == "td3":
            policy_step(1)
        else:
            policy_step(2)
            policy_step(2)

    return two


def measure(algorithm: str, quick: bool) -> dict[str, float]:
    """Updates per second of each side, medians over the same rounds."""
    size = SIZES[algorithm]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    updates, rounds = (60, 3) if quick else (200, 9)
    update, products = make_ours(size), make_products(size)
    peer = Peer(size)
    try:
        sides: dict[str, Callable[[], float]] = {
            "apprentice": lambda: updates / seconds(lambda: [update() for _ in range(updates)]),
            "d3rlpy": lambda: peer.rate(updates),
            "products": lambda: updates / seconds(lambda: [products() for _ in range(updates // 2)]),
        }
        for side in sides.values():
            side()
        return turns(sides, rounds)
    finally:
        peer.close()


def run(quick: bool = False) -> BenchResult:
    results = {name: measure(name, quick) for name in SIZES}
    measures, failures = {}, []
    for name, result in results.items():
        share = result["apprentice"] / result["products"]
        measures |= {f"{name}_{side}": Measure(round(rate, 1), "updates/s") for side, rate in result.items()}
        measures |= {
            f"{name}_to_d3rlpy": Measure(round(result["apprentice"] / result["d3rlpy"], 3), ""),
            f"{name}_products_share": Measure(round(share, 3), "of the update's time"),
        }
        if share < PRODUCTS:
            failures.append(f"{name}: the matrix products are {share:.2f} of the update's time, to reach {PRODUCTS}")
    return BenchResult(
        bench="online",
        ratio=min(r["apprentice"] / r["d3rlpy"] for r in results.values()),
        target=1.3,
        reference=f"the slower of TD3 (400-300, batch 100) and SAC (256-256, batch 256) against {PACKAGES[0]}, one thread, same run",
        measures=measures,
        failures=tuple(failures),
    )
