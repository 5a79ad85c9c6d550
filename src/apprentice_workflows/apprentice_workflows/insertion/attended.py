"""A simulated cell with a person in reach: what no reset can mend is mended by hand, and counted (spec 001c B27, X13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from apprentice_core.cell import OPERATOR_NEEDED, Cell, EpisodeRef, EpisodeRequest


class Attended:
    """Runs episodes as `cell` does. One whose reset asks for a person is begun again after his help, of which `told` hears the reason."""

    def __init__(self, cell: Cell, told: Callable[[str], None]):
        self.cell, self.told = cell, told

    def run(self, request: EpisodeRequest) -> EpisodeRef:
        ref = self.cell.run(request)
        if OPERATOR_NEEDED not in ref.reason:
            return ref
        self.told(ref.reason)
        return self.cell.run(replace(request, reset=replace(request.reset, mode="operator")))
