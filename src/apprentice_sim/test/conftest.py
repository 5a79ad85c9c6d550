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
