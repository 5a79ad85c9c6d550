"""The scripted baselines of section 4.6 in the family's world (C29, C30)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apprentice_control.base import BaseController, CentreLine, ControllerSource, Localised, RandomSearch, SpiralSearch, StraightDown
from apprentice_core.errors import ApprenticeError
from apprentice_core.spaces import Observation
from apprentice_learning.representations.dataset import CAMERA
from apprentice_learning.representations.frame_models import SocketLocaliser
from apprentice_sim.connectors.floating import STEP, STIFFNESS
from apprentice_workflows.on_the_job.starts import Scenario
from apprentice_workflows.on_the_job.world import SPACE

BASELINES = ("localize", "straight", "random", "spiral")
GIVE = 1.0 / STIFFNESS
"""m per newton, of the fast world's arm"""
ALONE = tuple(f"{n}_alone" for n in BASELINES[1:])
"""without localisation before them in scenario II either (claim C-c12)"""


class FromImage:
    """A localiser's bundle as a base controller asks it: where the socket is, (x, y) in the base frame, m."""

    def __init__(self, localiser: SocketLocaliser):
        self.localiser, self.model_id = localiser, localiser.model_id

    def __call__(self, observation: Observation) -> np.ndarray:
        return np.asarray(observation["tool/pose"][:2], dtype=np.float64) + self.localiser.localise(observation[CAMERA])


def baseline(name: str, scenario: Scenario, localiser: Callable[[], SocketLocaliser]) -> ControllerSource:
    """In scenario II what presses moves first to where the localiser says (C30); where nothing is localised, `localiser` is not called.
    ApprenticeError for another name."""
    pressing: dict[str, BaseController] = {
        "straight": StraightDown(STEP, give=GIVE), "random": RandomSearch(STEP, give=GIVE), "spiral": SpiralSearch(STEP, give=GIVE),
    }
    alone = name in ALONE
    plain = name.removesuffix("_alone") if alone else name
    controller: BaseController
    if plain == "localize":
        controller = CentreLine(STEP, localise=FromImage(localiser()))
    elif plain not in pressing:
        raise ApprenticeError(f"no baseline {name!r}; known: {', '.join((*BASELINES, *ALONE))}")
    elif scenario == "I" or alone:
        controller = pressing[plain]
    else:
        controller = Localised(STEP, localise=FromImage(localiser()), then=pressing[plain])
    return ControllerSource(controller, SPACE, name=name)
