"""The 13 method cells of spec 001c section 3.6, and the thesis's success rates beside which ours stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apprentice_core.errors import ApprenticeError

Family = Literal["pure", "demos", "residual", "base"]
Setting = Literal["images", "sparse", "dense", ""]
CONNECTORS = ("usb", "dsub", "model_e")
"""easy to hard (section 3.1)"""
SPARSE_CONNECTORS = ("usb",)
"""thesis: only the USB port tells whether it is connected (table of section 3.3)"""


@dataclass(frozen=True)
class Method:
    """One row of the table. `learner`: config/online/<name>.yaml; `rates`: connector -> thesis's success (perfect, noisy goal)."""

    name: str
    title: str
    family: Family
    setting: Setting
    learner: str
    rates: dict[str, tuple[float, float]]

    @property
    def base(self) -> str:
        """Which base controller acts: `null_controller` lets the policy act alone (spec 001c A10)."""
        return "p_controller" if self.family in ("residual", "base") else "null_controller"

    @property
    def connectors(self) -> tuple[str, ...]:
        return SPARSE_CONNECTORS if self.setting == "sparse" else CONNECTORS


def _rates(*percent: tuple[int, int]) -> dict[str, tuple[float, float]]:
    return {c: (perfect / 100, noisy / 100) for c, (perfect, noisy) in zip(CONNECTORS, percent, strict=False)}


# "Dense" names no algorithm in the thesis; SAC is our reading (section 3.4).
METHODS = {
    m.name: m
    for m in (
        Method("pure_dense", "Pure RL, dense", "pure", "dense", "sac", _rates((28, 20), (16, 0), (0, 0))),
        Method("pure_sparse_sac", "Pure RL, sparse, SAC", "pure", "sparse", "sac", _rates((16, 8))),
        Method("pure_sparse_td3", "Pure RL, sparse, TD3", "pure", "sparse", "td3", _rates((44, 28))),
        Method("pure_images_sac", "Pure RL, images, SAC", "pure", "images", "sac", _rates((36, 32), (0, 0), (0, 0))),
        Method("pure_images_td3", "Pure RL, images, TD3", "pure", "images", "td3", _rates((28, 28), (12, 12), (0, 0))),
        Method("demos_sparse", "RL + LfD, sparse", "demos", "sparse", "td3_demos", _rates((100, 32))),
        Method("demos_images", "RL + LfD, images", "demos", "images", "td3_demos", _rates((88, 60), (52, 52), (20, 20))),
        Method("residual_dense", "Residual RL, dense", "residual", "dense", "sac", _rates((100, 84), (100, 60), (100, 76))),
        Method("residual_sparse_sac", "Residual RL, sparse, SAC", "residual", "sparse", "sac", _rates((88, 84))),
        Method("residual_sparse_td3", "Residual RL, sparse, TD3", "residual", "sparse", "td3", _rates((100, 36))),
        Method("residual_images_sac", "Residual RL, images, SAC", "residual", "images", "sac", _rates((100, 80), (100, 64), (100, 76))),
        Method("residual_images_td3", "Residual RL, images, TD3", "residual", "images", "td3", _rates((0, 0), (52, 52), (0, 0))),
        Method("p_controller", "Human P-controller", "base", "", "", _rates((100, 60), (100, 44), (52, 24))),
    )
}


def method(name: str) -> Method:
    """ApprenticeError names the methods that there are."""
    if name not in METHODS:
        raise ApprenticeError(f"no insertion method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def find(family: Family, setting: Setting, algorithm: str = "") -> Method:
    """The method of a family and setting; `algorithm` (sac or td3) chooses where there are two, sac by default. ApprenticeError when there
    is none."""
    fitting = [m for m in METHODS.values() if m.family == family and m.setting == ("" if family == "base" else setting)]
    wanted = [m for m in fitting if not algorithm or m.learner.startswith(algorithm)]
    if not wanted:
        known = ", ".join(sorted({m.learner for m in fitting})) or "none"
        raise ApprenticeError(f"no method {family} with setting {setting!r} and algorithm {algorithm!r}; algorithms there: {known}")
    return next((m for m in wanted if m.learner == "sac"), wanted[0])
