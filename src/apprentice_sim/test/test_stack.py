"""The stacking expert in the simulated cell, and the failures that experts make on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice_control.scripted import make_expert
from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_sim.sim_cell import SimCell


@pytest.mark.parametrize("start", ["normal/n2", "hard/h5", "unseen/u3"])
def test_the_expert_stacks_and_what_it_built_stands(stack: SimCell, start: str) -> None:
    ref = stack.run(EpisodeRequest("stack_green_on_red", "expert", ResetRequest(initial_state=start), steps=75))
    assert ref.success
    green, red = (stack.world.objects()[n][0] for n in ("green", "red"))
    assert np.linalg.norm(green[:2] - red[:2]) < 0.02 and green[2] > red[2] + 0.026


def test_failures_on_purpose_miss_or_drop(lift: SimCell) -> None:
    lift.sources["clumsy"] = make_expert(lift.profile, lift.task_config, lift.spec.action_space, 0.1, failures=1.0, name="clumsy")
    highest = []
    for seed in (1, 2, 3, 4):
        ref = lift.run(EpisodeRequest("lift_demo", "clumsy", ResetRequest(seed=seed), steps=60))
        assert not ref.success
        source = lift.sources["clumsy"]
        highest.append(source._drop_at is not None)
        assert lift.world.objects()["green"][0][2] < 0.05, "it lies on the floor again"
    assert set(highest) == {True, False}
