"""What reward sources that read a bundle share: which arrays they need, and whether a cell or a batch has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from apprentice_core.bundle import BundleManifest
from apprentice_core.errors import BundleError
from apprentice_core.spaces import ArraySpec


class BundleSource:
    """The arrays that the manifest names, and checks of them."""

    needs_privileged = False

    def __init__(self, manifest: BundleManifest):
        self.manifest = manifest
        self.task = str(manifest.network["task"])
        self.specs = tuple(ArraySpec(a.name, a.shape, a.dtype, a.unit) for a in manifest.observation)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.specs)

    def check(self, specs: Iterable[ArraySpec]) -> None:
        """BundleError when a cell with these observation arrays cannot feed the model."""
        known = {s.name: s for s in specs}
        for spec in self.specs:
            have = known.get(spec.name)
            if have is None or have.shape != spec.shape or have.dtype != spec.dtype:
                got = "nothing of that name" if have is None else f"{have.dtype} {have.shape}"
                raise BundleError(f"observation.{spec.name}: the reward model reads {spec.dtype} {spec.shape}, the cell gives {got}")

    def tensors(self, observation: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """name -> [N, ...]; ValueError names an array that is missing or of another form."""
        out = {}
        for spec in self.specs:
            array = observation.get(spec.name)
            if array is None:
                raise ValueError(f"observation lacks {spec.name}")
            if array.shape[1:] != spec.shape or array.dtype != spec.dtype:
                raise ValueError(f"{spec.name}: {array.dtype} {array.shape[1:]}, the reward model reads {spec.dtype} {spec.shape}")
            out[spec.name] = torch.from_numpy(np.ascontiguousarray(array))
        return out
