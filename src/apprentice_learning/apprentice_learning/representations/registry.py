"""Domains, close variants, held-out connectors and splits (spec 001c sections 4.2-4.4, checklist C3-C5, C11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from apprentice_core.config import Strict, load_yaml
from apprentice_core.errors import ApprenticeError
from apprentice_core.paths import config_path


class HeldOutError(ApprenticeError):
    """A training set was asked for that holds a connector which is only for tests."""


@dataclass(frozen=True, order=True)
class Domain:
    """A connector on a robot: what the adversary must not tell apart."""

    connector: str
    robot: str


class ConnectorRegistry(Strict):
    """config/representations/connectors.yaml."""

    held_out: tuple[str, ...] = Field((), description="connectors that no training set may contain, on any robot")
    variants: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="group name to connectors that are nearly the same")

    @model_validator(mode="after")
    def _in_one_group(self) -> ConnectorRegistry:
        members = [c for group in self.variants.values() for c in group]
        twice = sorted({c for c in members if members.count(c) > 1})
        if twice:
            raise ValueError(f"variants: {', '.join(twice)} in more than one group")
        return self

    def close(self, connector: str) -> frozenset[str]:
        """The connector and its close variants."""
        for group in self.variants.values():
            if connector in group:
                return frozenset(group)
        return frozenset({connector})

    @property
    def forbidden(self) -> frozenset[str]:
        """What is held out, with its close variants."""
        return frozenset(c for name in self.held_out for c in self.close(name))

    def admit(self, connectors: Iterable[str]) -> None:
        """HeldOutError when one of them may not be trained on."""
        wrong = sorted(set(connectors) & self.forbidden)
        if wrong:
            raise HeldOutError(f"held out, or close variants of what is: {', '.join(wrong)}; no training set may contain them")

    def training_connectors(self, known: Iterable[str], leave_out: Iterable[str] = ()) -> tuple[str, ...]:
        """Of `known`, all that may be trained on when `leave_out` (and their close variants) are tested, sorted."""
        tested = {c for name in leave_out for c in self.close(name)}
        return tuple(sorted(set(known) - tested - self.forbidden))

    def reward_split(self, known: Iterable[str], train: int = 25, test: int = 5, seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(training connectors, test connectors), drawn by `seed`, no test connector with a close variant in training (C11).

        The held-out names are never trained on; they may be tested. ApprenticeError when there are too few connectors.
        """
        names = sorted(set(known))
        order = [names[i] for i in np.random.default_rng([seed, 11]).permutation(len(names))]
        tested: list[str] = []
        for name in order:
            if len(tested) < test and not any(name in self.close(t) for t in tested):
                tested.append(name)
        trained = [n for n in order if n in set(self.training_connectors(names, tested))][:train]
        if len(tested) < test or len(trained) < train:
            got = f"{len(trained)} to train on and {len(tested)} to test"
            raise ApprenticeError(f"{len(names)} connectors give {got}, not {train} and {test}")
        return tuple(sorted(trained)), tuple(sorted(tested))


def load_registry(name: str = "connectors") -> ConnectorRegistry:
    """config/representations/<name>.yaml, or a path; ConfigError names file and field."""
    return load_yaml(config_path("representations", name), ConnectorRegistry)


def domain_index(domains: Sequence[Domain]) -> dict[Domain, int]:
    """Labels 0 .. D - 1 of the distinct domains, in their order."""
    return {d: i for i, d in enumerate(sorted(set(domains)))}
