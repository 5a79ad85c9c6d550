"""Runs in the peer's own environment: updates of d3rlpy's IQL, TD3 or SAC on request.

Reads one integer a line (how many updates to run), answers with the seconds they took; ends at end of file.
Sizes come as JSON on the command line: algorithm, batch, observation, action, hidden.
"""

import json
import sys
import time

import numpy as np
import torch
from d3rlpy.algos import IQLConfig, SACConfig, TD3Config
from d3rlpy.dataset import Transition, TransitionMiniBatch
from d3rlpy.models.encoders import VectorEncoderFactory


def main() -> None:
    torch.set_num_threads(1)
    size = json.loads(sys.argv[1])
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(np.float32)

    batch = TransitionMiniBatch.from_transitions(
        [
            Transition(
                observation=floats(size["observation"]),
                action=floats(size["action"]),
                reward=floats(1),
                next_observation=floats(size["observation"]),
                next_action=floats(size["action"]),
                terminal=0.0,
                interval=1,
                rewards_to_go=floats(1, 1),
            )
            for _ in range(size["batch"])
        ]
    )
    encoder = VectorEncoderFactory(hidden_units=size["hidden"])
    kind = {"iql": IQLConfig, "td3": TD3Config, "sac": SACConfig}[size["algorithm"]]
    value = {"value_encoder_factory": encoder} if size["algorithm"] == "iql" else {}
    config = kind(batch_size=size["batch"], actor_encoder_factory=encoder, critic_encoder_factory=encoder, **value)
    algorithm = config.create(device=False)
    algorithm.create_impl((size["observation"],), size["action"])
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            algorithm.update(batch)
        print(time.perf_counter() - start, flush=True)


main()
