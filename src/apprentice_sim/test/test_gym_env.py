"""The Gymnasium environments pass Gymnasium's own checker."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import apprentice_sim.gym_env  # noqa: F401


@pytest.mark.parametrize("name", ["Apprentice/Lift-v0", "Apprentice/PickPlace-v0"])
@pytest.mark.filterwarnings("ignore:.*WARN.*")
def test_checker(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_named_starts_and_rewards() -> None:
    env = gymnasium.make("Apprentice/Lift-v0", cameras=False, reward="shaped").unwrapped
    env.reset(options={"initial_state": "hard/h3"})
    _, reward, terminated, truncated, info = env.step(np.zeros(7, dtype=np.float32))
    assert 0 < reward < 0.5 and not terminated and not truncated
    assert not any(k.startswith("object/") for k in info)
    assert env.render() is None
    env.close()
