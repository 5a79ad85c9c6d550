"""SingleTask: the goal that an episode's metadata names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apprentice_core.episode import EpisodeContext
from apprentice_core.scheduler import MAX_GOAL, MAX_GOALS, SingleTask, goal_of


def test_goal_reaches_the_segment_as_float32() -> None:
    context = EpisodeContext("e", "insert_usb", metadata={"goal": {"position": [0.6, 0.0, 0.05]}})
    segment = SingleTask().begin(context)
    np.testing.assert_array_equal(segment.goal["position"], np.array([0.6, 0.0, 0.05], dtype=np.float32))
    assert segment.goal["position"].dtype == np.float32 and segment.provenance == "metadata"


def test_without_a_goal_there_is_none() -> None:
    segment = SingleTask().begin(EpisodeContext("e", "lift"))
    assert not segment.goal and segment.provenance == ""


@pytest.mark.parametrize(
    "goal",
    [
        [1.0], {"position": "here"}, {"position": [1.0, float("nan")]}, {"position": []}, {"position": [[1.0]]}, {"position": [None]},
        {"position": [0.0] * (MAX_GOAL + 1)}, {"position": [1e40]}, {str(i): [0.0] for i in range(MAX_GOALS + 1)},
    ],
)
def test_a_goal_that_is_none_is_refused(goal: Any) -> None:
    with pytest.raises(ValueError, match="goal"):
        goal_of({"goal": goal})
