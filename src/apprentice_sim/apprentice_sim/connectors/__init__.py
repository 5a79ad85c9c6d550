"""Plugs and sockets: their geometry and physics (`connector`), three industrial presets, and the procedural family of chapter 10."""

from __future__ import annotations

from apprentice_core.errors import ConfigError
from apprentice_sim.connectors.connector import Connector
from apprentice_sim.connectors.family import family
from apprentice_sim.connectors.presets import PRESETS

__all__ = ["PRESETS", "Connector", "family", "find_connector"]


def find_connector(name: str) -> Connector:
    """A preset or one of the family; ConfigError lists them when there is no such connector."""
    if name in PRESETS:
        return PRESETS[name]
    known = family()
    if name not in known:
        raise ConfigError(name, "connector", f"unknown; known: {', '.join((*PRESETS, *known))}")
    return known[name]
