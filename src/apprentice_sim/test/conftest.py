from __future__ import annotations

from collections.abc import Iterator

import pytest

from apprentice_sim.sim_cell import SimCell


@pytest.fixture(scope="module")
def lift() -> Iterator[SimCell]:
    """A lift cell without cameras."""
    cell = SimCell("sawyer_lift", "lift_demo", seed=0, cameras=False)
    yield cell
    cell.close()


@pytest.fixture(scope="module")
def stack() -> Iterator[SimCell]:
    """The same cell with the stacking task, without cameras."""
    cell = SimCell("sawyer_lift", "stack_green_on_red", seed=0, cameras=False)
    yield cell
    cell.close()
